"""The order of the steps, retries, waits and messages of deployments, on a cloud in memory."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest

from csp import deployer, run
from csp.cloud import Check, Difference, Exit, Failure, Phase, RunPhase, RunState
from csp.up import up
from server_utils.clusters import model_memory
from server_utils.clusters.gpu_fit import Demand
from server_utils.errors import ConfigurationError, DeploymentError, StorageError
from server_utils.storage.stores.base import ChangedError, ObjectNotFoundError
from server_utils.storage.stores.files import Files
from unit.csp.deployments import deployment, new_session
from unit.csp.fake_cloud import LOST, FakeCloud


@pytest.fixture
def cloud(tmp_path):
    return FakeCloud(tmp_path / "cloud")


@pytest.fixture
def session(cloud):
    return new_session(cloud)


@pytest.fixture
def wanted(tmp_path):
    return deployment(tmp_path, "databricks-aws", "a10x1", "l4x1")


def refusal(call, exit_code):
    with pytest.raises(DeploymentError) as caught:
        call()
    assert caught.value.exit_code == exit_code, caught.value
    return str(caught.value)


def test_checks_come_before_files_and_files_before_the_cluster(cloud, session, wanted):
    assert up(session, wanted).is_ready
    steps = [each for each in cloud.calls if each in {"find", "checks", "make_root", "create"}]
    assert steps == ["find", "checks", "make_root", "create"]


def test_a_failed_check_makes_nothing_and_all_failed_checks_are_named(cloud, session, wanted):
    cloud.failed_checks = [Check("quota", "0", "ask"), Check("runtime", "gone", "take another")]
    message = refusal(lambda: up(session, wanted), Exit.CHECK_FAILED)
    assert message == "nothing was made, because quota: 0; ask;\nruntime: gone; take another"
    assert "make_root" not in cloud.calls


def test_a_model_that_does_not_fit_is_a_failed_check(session, wanted):
    weights = max(map(model_memory.read, model_memory.known_models()), key=lambda each: each.size)
    large = dataclasses.replace(wanted, model=(weights, Demand(6600)))
    assert "does not fit on g5.4xlarge" in refusal(lambda: up(session, large), Exit.CHECK_FAILED)


def test_every_step_is_tried_again_when_the_network_is_back(cloud, session, wanted):
    cloud.trouble = {name: [LOST, LOST] for name in ("find", "checks", "make_root", "create", "state")}
    assert up(session, wanted).is_ready
    assert any("connection lost; again in 2 s" in each for each in session.report.waits)


def test_a_network_that_stays_away_is_one_sentence_with_what_exists(cloud, session, wanted):
    cloud.trouble = {"state": [LOST] * 1000}
    message = refusal(lambda: up(session, wanted, timeout_s=600), Exit.TIMEOUT)
    assert "connection lost; tried for 10 min" in message
    assert "is starting and bills" in message


def test_before_a_second_create_the_first_is_looked_for(cloud, session, wanted):
    cloud.late, cloud.trouble = {"create"}, {"create": [LOST]}
    assert up(session, wanted).is_ready
    assert cloud.calls.count("create") == 1


def test_a_create_that_may_have_been_heard_is_said_to_bill_perhaps(cloud, session, wanted):
    cloud.late, cloud.trouble = {"create"}, {"create": [LOST], "find": []}
    session.report.on_wait = lambda text: cloud.trouble.update(find=[LOST] * 1000)
    message = refusal(lambda: up(session, wanted), Exit.TIMEOUT)
    assert "A cluster may be there: `spark-sidecar fake status --name reviews` shows it" in message
    assert len(cloud.clusters) == 1


def test_a_create_that_is_refused_after_a_lost_one_says_that_a_cluster_may_be_there(cloud, session, wanted):
    cloud.trouble = {"create": [LOST, DeploymentError("no quota")]}
    assert "no quota. A cluster may be there" in refusal(lambda: up(session, wanted), Exit.TIMEOUT)
    cloud.trouble = {"create": [DeploymentError("no quota")]}
    assert refusal(lambda: up(session, wanted), Exit.REFUSED) == "no quota"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (ObjectNotFoundError("no bucket b"), "no bucket b. Look whether the bucket or volume still exists"),
        (ChangedError("a file"), "somebody else writes a file now. Run the same command again"),
    ],
)
def test_what_a_store_says_ends_a_command_with_one_sentence(cloud, session, wanted, fault, expected):
    cloud.trouble = {"make_root": [fault]}
    assert expected in refusal(lambda: up(session, wanted), Exit.REFUSED)


def test_without_a_network_before_anything_is_made_no_cluster_is_said_to_bill(cloud, session, wanted):
    cloud.trouble = {"find": [LOST] * 1000}
    assert "Check the network" in refusal(lambda: up(session, wanted), Exit.REFUSED)


@pytest.fixture
def stopped(cloud, session, wanted):
    """The id of a cluster that ended for lack of work."""
    state = up(session, wanted)
    cloud.clusters[state.cluster_id] = dataclasses.replace(state, phase=Phase.STOPPED, ready=0)
    return state.cluster_id


class Ending(FakeCloud):
    """A cloud whose cluster is just ending when it is first looked for. after: in which phase it is then."""

    after = Phase.STOPPED

    def state(self, cluster_id):
        state = self.clusters.get(cluster_id)
        if state and state.phase is Phase.DELETING:
            self.clusters[cluster_id] = dataclasses.replace(state, phase=self.after)
            if self.after is Phase.DELETING:
                del self.clusters[cluster_id]
            return self.clusters.get(cluster_id)
        return super().state(cluster_id)


@pytest.fixture
def ending(tmp_path, wanted):
    cloud = Ending(tmp_path / "cloud")
    state = up(new_session(cloud), wanted)
    cloud.clusters[state.cluster_id] = dataclasses.replace(state, phase=Phase.DELETING, ready=0)
    return cloud


def test_a_cluster_that_is_just_ending_is_started_again(ending, wanted):
    (old,) = ending.clusters
    assert up(new_session(ending), wanted).cluster_id == old
    assert (ending.calls.count("start"), ending.calls.count("delete")) == (1, 0)


def test_a_cluster_with_other_settings_is_adopted_and_the_user_is_told_which(cloud, session, wanted):
    first = up(session, wanted)
    cloud.settings = [Difference("variables differ (A, B)", is_setting=True)]
    assert up(session, wanted).cluster_id == first.cluster_id
    assert session.report.messages[-1] == (
        f"Adopting cluster reviews ({first.cluster_id}), which is running. It stays as it is, although "
        "variables differ (A, B); --replace makes it anew."
    )
    assert up(session, wanted, replace=True).cluster_id != first.cluster_id


def test_a_cluster_that_is_just_ending_and_another_one_is_not_deleted_unasked(ending, wanted):
    other = dataclasses.replace(wanted, clusters=wanted.clusters[1:])
    assert "Give --replace" in refusal(lambda: up(new_session(ending), other), Exit.REFUSED)
    assert len(ending.clusters) == 1
    assert up(new_session(ending), other, replace=True).is_ready


def test_a_cluster_that_is_being_deleted_is_made_anew(ending, wanted):
    (old,), ending.after = ending.clusters, Phase.DELETING
    assert up(new_session(ending), wanted).cluster_id != old


def test_a_cluster_that_does_not_end_is_waited_for_until_the_time_is_up(ending, wanted):
    ending.state = ending.clusters.get
    assert "the cluster is deleting" in refusal(lambda: up(new_session(ending), wanted, timeout_s=60), Exit.TIMEOUT)


def test_before_a_second_start_the_first_is_looked_for(cloud, session, wanted, stopped):
    cloud.late, cloud.trouble = {"start"}, {"start": [LOST]}
    assert up(session, wanted).cluster_id == stopped
    assert cloud.calls.count("start") == 1


def test_a_start_that_was_not_heard_is_repeated(cloud, session, wanted, stopped):
    cloud.trouble = {"start": [LOST]}
    assert up(session, wanted).cluster_id == stopped
    assert cloud.calls.count("start") == 2


def test_a_start_without_capacity_tries_the_next_choice(cloud, session, wanted, stopped):
    cloud.restarts = Phase.STOPPED
    state = up(session, wanted)
    assert (state.nodes, state.is_ready) == (deployer.nodes_of(wanted.clusters[1]), True)
    assert stopped not in cloud.clusters
    assert "there is none. Trying another choice." in session.report.messages


def test_a_start_without_capacity_and_without_another_choice_is_explained(cloud, session, wanted, stopped):
    cloud.restarts = Phase.STOPPED
    only = dataclasses.replace(wanted, clusters=wanted.clusters[:1])
    assert "STOCKOUT: there is none. Try later. It is deleted" in refusal(lambda: up(session, only), Exit.REFUSED)
    assert (cloud.calls.count("create"), cloud.clusters) == (1, {})


def test_a_start_that_is_refused_says_how_to_remove_the_cluster(cloud, session, wanted, stopped):
    cloud.trouble = {"start": [DeploymentError("no right to")]}
    assert "`spark-sidecar fake down --name reviews` removes it" in refusal(lambda: up(session, wanted), Exit.REFUSED)


@pytest.mark.parametrize("step", ["find", "checks", "make_root", "create", "state", "delete"])
def test_ctrl_c_at_each_stage_says_what_exists(cloud, session, wanted, step):
    if step == "delete":
        cloud.fates = [Phase.FAILED]
    cloud.trouble = {step: [KeyboardInterrupt()]}
    message = refusal(lambda: up(session, wanted), Exit.INTERRUPTED)
    expected = {"create": "A cluster may be there", "state": "starting and bills", "delete": "failed and bills"}
    assert expected.get(step, "No cluster was made, and nothing bills") in message


def test_without_capacity_every_choice_is_tried_and_nothing_stays(cloud, session, wanted):
    cloud.fates = [Phase.FAILED, Phase.STOPPED]
    message = refusal(lambda: up(session, wanted, keep=True), Exit.REFUSED)
    assert "STOCKOUT: there is none. Try later. It is deleted, and nothing bills." in message
    assert cloud.calls.count("create") == 2
    assert cloud.clusters == {}


def test_the_log_of_an_init_script_is_shown(cloud, session, wanted):
    cloud.fates, cloud.failures = [Phase.FAILED], [Failure("INIT", "it ended", "Repair it", log="no space left")]
    assert refusal(lambda: up(session, wanted), Exit.REFUSED).endswith("The init script's log ends:\nno space left")


@pytest.mark.parametrize(
    ("fault", "code"), [(DeploymentError("not allowed"), Exit.REFUSED), (KeyboardInterrupt(), Exit.INTERRUPTED)]
)
def test_why_a_cluster_failed_is_said_before_its_deletion_fails(cloud, session, wanted, fault, code):
    cloud.fates, cloud.failures = [Phase.FAILED], [Failure("INIT", "it ended", "Repair it", log="no space left")]
    cloud.trouble = {"delete": [fault]}
    message = refusal(lambda: up(session, wanted), code)
    assert "nothing bills" not in message
    (failure,) = (each for each in session.report.messages if "INIT" in each)
    assert failure.endswith("Repair it. It is being deleted.\nThe init script's log ends:\nno space left")


def test_an_adopted_cluster_that_fails_is_deleted_as_its_message_says(cloud, session, wanted):
    wanted = dataclasses.replace(wanted, clusters=wanted.clusters[:1])
    up(session, wanted)
    (state,) = cloud.clusters.values()
    cloud.clusters[state.cluster_id] = dataclasses.replace(state, phase=Phase.STARTING)
    cloud._fate, cloud._left = Phase.FAILED, 1
    assert "It is deleted" in refusal(lambda: up(session, wanted), Exit.REFUSED)
    assert cloud.clusters == {}


@pytest.mark.parametrize("kind", [DeploymentError, StorageError])
def test_a_failure_whose_cause_may_not_be_read_is_still_deleted(cloud, session, wanted, kind):
    cloud.fates, cloud.trouble = [Phase.FAILED], {"failure": [kind("not allowed")]}
    message = refusal(lambda: up(session, wanted), Exit.REFUSED)
    assert "Its cause could not be read: not allowed. It is deleted, and nothing bills" in message
    assert cloud.clusters == {}


def test_a_cluster_that_failed_before_is_explained_and_replaced(cloud, session, wanted):
    up(session, wanted)
    (old,) = cloud.clusters.values()
    cloud.clusters[old.cluster_id] = dataclasses.replace(old, phase=Phase.FAILED)
    cloud.failures = [Failure("INIT", "it ended", "Repair it")]
    assert "INIT: it ended. Repair it. It is kept" in refusal(lambda: up(session, wanted, keep=True), Exit.REFUSED)
    assert up(session, wanted).cluster_id != old.cluster_id
    assert any("failed, INIT: it ended. Repair it. It is being deleted" in each for each in session.report.messages)


def test_a_cluster_that_failed_before_is_made_anew_of_the_same_nodes(cloud, session, wanted):
    old = up(session, wanted)
    cloud.clusters[old.cluster_id] = dataclasses.replace(old, phase=Phase.FAILED)
    cloud.failures = [Failure("INIT", "it ended", "Repair it")]
    assert up(session, wanted).nodes == old.nodes


def test_two_clusters_of_one_deployment_are_named(cloud, session, wanted):
    up(session, wanted)
    (state,) = cloud.clusters.values()
    cloud.clusters["twin"] = dataclasses.replace(state, cluster_id="twin")
    assert f"{state.cluster_id}, twin" in refusal(lambda: up(session, wanted), Exit.REFUSED)
    assert len(deployer.down(session, "reviews")) == 3  # both, and the files


def test_a_cluster_that_somebody_deleted_ends_the_wait(cloud, session, wanted):
    session.report.on_wait = lambda text: cloud.clusters.clear()
    assert "was deleted by somebody else" in refusal(lambda: up(session, wanted), Exit.REFUSED)


def test_who_is_named_as_owner_is_acted_for(cloud, session, wanted):
    up(session, wanted)
    cloud.me = "other"
    assert "is a deployment of me, and you are other" in refusal(lambda: deployer.down(session, "reviews"), Exit.TAKEN)
    assert deployer.down(new_session(cloud, owner="me"), "reviews")


def test_the_lines_to_copy_name_the_owner_where_one_was_given(cloud):
    acting = new_session(cloud, owner="a team")
    for verb in ("up", "run", "down"):
        assert acting.line(verb, "reviews").endswith("--name reviews --owner 'a team'")
    assert acting.line("status", "reviews").endswith("--name reviews")


@pytest.mark.parametrize("verb", ["run", "replace", "down"])
def test_a_cluster_without_an_owner_is_that_of_who_sent_its_files(cloud, session, wanted, tmp_path, verb):
    """As on Dataproc, where no cluster says who made it."""
    up(session, wanted)
    cloud.clusters = {key: dataclasses.replace(each, owner="") for key, each in cloud.clusters.items()}
    program, other = tmp_path / "program.py", dataclasses.replace(wanted, clusters=wanted.clusters[1:])
    program.touch()
    cloud.me = "other"
    changes = {
        "run": lambda: run.run(session, "reviews", program),
        "replace": lambda: up(session, other, replace=True),
        "down": lambda: deployer.down(session, "reviews"),
    }
    assert "is a deployment of me, and you are other" in refusal(changes[verb], Exit.TAKEN)
    assert len(cloud.clusters) == 1
    assert "delete" not in cloud.calls


class Overtaken(FakeCloud):
    """A cloud on which another person's first upload is faster: between our look and our write."""

    def user(self):
        with contextlib.suppress(ChangedError):
            Files(Path(self.root("reviews")), "").write("owner/name", b"other", replaces=None)
        return super().user()


def test_of_two_first_uploads_at_the_same_moment_one_has_the_name(tmp_path, wanted):
    cloud = Overtaken(tmp_path / "cloud")
    assert "is a deployment of other" in refusal(lambda: up(new_session(cloud), wanted), Exit.TAKEN)
    assert "create" not in cloud.calls


@pytest.mark.parametrize("name", ["", "Reviews", "9lives", "a_b", "a-", "a" * 52, "../x"])
def test_a_name_that_not_every_cloud_takes_is_refused(session, wanted, name):
    with pytest.raises(ConfigurationError, match="at most 51 lower-case letters"):
        up(session, dataclasses.replace(wanted, name=name))


def test_what_a_run_prints_is_shown_once(cloud, session, wanted, tmp_path):
    up(session, wanted)
    cloud.runs = [RunState("1", RunPhase.WAITING), RunState("1", RunPhase.RUNNING), RunState("1", RunPhase.SUCCEEDED)]
    program = tmp_path / "program.py"
    program.write_text("")
    assert run.run(session, "reviews", program).exit_code is Exit.DONE
    assert session.report.printed == "line 0\nline 1\nline 2\n"


def test_a_run_without_capacity_is_tried_on_every_choice(cloud, session, wanted, tmp_path):
    none = RunState("1", RunPhase.FAILED, "there is none", no_capacity=True)
    cloud.runs = [none, none]
    program = tmp_path / "program.py"
    program.write_text("")
    result = run.run(session, "reviews", program, own_cluster=wanted)
    assert (cloud.calls.count("submit"), result.exit_code) == (2, Exit.RUN_FAILED)
    assert "there is none. Trying choice 2 of 2." in session.report.messages


@pytest.mark.parametrize("faults", [[LOST] * 1000, [LOST, DeploymentError("not allowed")]])
def test_a_submit_whose_answer_was_lost_is_said_to_bill_perhaps(cloud, session, wanted, tmp_path, faults):
    up(session, wanted)
    (tmp_path / "program.py").write_text("")
    cloud.late, cloud.trouble = {"submit"}, {"submit": faults}
    message = refusal(lambda: run.run(session, "reviews", tmp_path / "program.py"), Exit.TIMEOUT)
    assert "The run may go on and bill: `spark-sidecar fake down --name reviews` ends it" in message


def test_a_submit_that_is_refused_at_once_bills_nothing(cloud, session, wanted, tmp_path):
    up(session, wanted)
    (tmp_path / "program.py").write_text("")
    cloud.trouble = {"submit": [DeploymentError("not allowed")]}
    assert refusal(lambda: run.run(session, "reviews", tmp_path / "program.py"), Exit.REFUSED) == "not allowed"


def test_a_run_that_does_not_end_when_it_is_cancelled_is_one_sentence(cloud, session):
    cloud.runs, cloud.cancel = [RunState("1", RunPhase.RUNNING)], lambda run_id: None
    assert "run 1 is still running 10 min after it was cancelled" in refusal(lambda: session.cancel("1"), Exit.TIMEOUT)


def test_results_are_fetched_whole_with_their_folders(cloud, session, wanted, tmp_path):
    up(session, wanted)
    folder = tmp_path / "cloud" / "reviews" / "runs" / "1"
    (folder / "part").mkdir(parents=True)
    (folder / "part" / "rows.csv").write_text("a,b\n")
    (folder / "empty").touch()
    cloud.runs = [RunState("1", RunPhase.SUCCEEDED, results=str(folder))]
    result = run.follow(session, "1", name="reviews", out=tmp_path / "out")
    assert sorted(each.relative_to(tmp_path / "out").as_posix() for each in result.files) == ["empty", "part/rows.csv"]
    assert (tmp_path / "out" / "part" / "rows.csv").read_text() == "a,b\n"


class Short(Files):
    """A store whose answers break off so many times."""

    times = 1

    def fetch(self, key, start, size, write):
        Short.times -= 1
        super().fetch(key, start, size - 1 if Short.times >= 0 else size, write)


@pytest.mark.parametrize(("times", "code"), [(2, Exit.DONE), (1000, Exit.REFUSED)])
def test_a_result_that_broke_off_never_counts_as_whole(cloud, session, tmp_path, times, code):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "rows.csv").write_text("a,b\n")
    Short.times, cloud.store = times, lambda root: Short(Path(root), root)
    cloud.runs = [RunState("1", RunPhase.SUCCEEDED, results=str(folder))]
    result = run.follow(session, "1", name="reviews", out=tmp_path / "out")
    assert result.exit_code == code
    assert (tmp_path / "out" / "rows.csv").exists() == (code is Exit.DONE)
    assert ("3 of 4 bytes came" in result.unfetched) == (code is not Exit.DONE)


@pytest.mark.parametrize(("phase", "code"), [(RunPhase.SUCCEEDED, 1), (RunPhase.FAILED, 3), (RunPhase.TIMED_OUT, 4)])
def test_how_a_run_ended_is_told_where_its_results_cannot_be_fetched(cloud, session, tmp_path, phase, code):
    cloud.runs, cloud.trouble = [RunState("1", phase)], {"executed": [DeploymentError("not allowed")]}
    result = run.follow(session, "1", name="reviews", out=tmp_path / "out")
    assert (result.state.phase, result.exit_code) == (phase, code)
    assert (
        "not allowed. Not all results are here; `spark-sidecar fake run --name reviews --resume 1`" in result.unfetched
    )
    assert f"Run 1 has ended, {phase}. {result.unfetched}" in session.report.messages


@pytest.mark.parametrize(
    ("notebook", "message"), [(DeploymentError("no export"), "no export"), ({"../x.ipynb": b""}, "cannot be written")]
)
def test_a_notebook_that_cannot_be_had_loses_no_results(cloud, session, tmp_path, notebook, message):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "rows.csv").write_text("a,b\n")
    cloud.runs = [RunState("1", RunPhase.SUCCEEDED, results=str(folder))]
    if isinstance(notebook, dict):
        cloud.executed = lambda run_id: notebook
    else:
        cloud.trouble = {"executed": [notebook]}
    result = run.follow(session, "1", name="reviews", out=tmp_path / "out")
    assert [each.name for each in result.files] == ["rows.csv"]
    assert message in result.unfetched
    assert f"Not all results are here; they are in {folder}, and `spark-sidecar fake run" in result.unfetched
    assert not (tmp_path / "x.ipynb").exists()


def test_a_laptop_that_cannot_write_results_loses_nothing_of_how_the_run_ended(session, tmp_path):
    (tmp_path / "out").write_text("a file, where a folder is wanted")
    result = run.follow(session, "1", name="reviews", out=tmp_path / "out")
    assert (result.state.phase, result.exit_code) == (RunPhase.SUCCEEDED, Exit.REFUSED)
    assert "File exists" in result.unfetched
    assert "`spark-sidecar fake run --name reviews --resume 1` waits for it again" in result.unfetched


def test_down_names_what_it_keeps_and_what_it_did_not_look_for(cloud, session, wanted):
    up(session, wanted)
    models = Path(cloud.root("reviews"), "models")
    models.mkdir()
    (models / "weights").write_text("")
    kept = f"Kept, and billed as storage: {models}; --delete-models deletes them."
    assert deployer.remove(session, "reviews").remaining_costs == f"{kept} Nothing else is left that bills."
    assert deployer.remove(session, "reviews").remaining_costs == f"There is nothing to delete. {kept}"
    assert deployer.remove(session, "reviews", models=True).remaining_costs == "Nothing is left that bills."
    cloud.root = lambda name: ""
    unknown = "There is nothing to delete. Files were not looked for, as no bucket or volume was named."
    assert deployer.remove(session, "reviews").remaining_costs == unknown


def test_ctrl_c_in_down_says_how_to_delete_the_rest(cloud, session, wanted):
    up(session, wanted)
    cloud.trouble = {"delete": [KeyboardInterrupt()]}
    message = refusal(lambda: deployer.down(session, "reviews"), Exit.INTERRUPTED)
    assert "`spark-sidecar fake down --name reviews` deletes the rest" in message


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (("latin.py", "é = 1".encode("latin-1")), "no text in UTF-8: .* save it as UTF-8"),
        (("latin.ipynb", b"\xe9"), "no text in UTF-8"),
        (("cut.ipynb", b'{"cells": ['), "no notebook of format 4: JSONDecodeError"),
        (("old.ipynb", b'{"worksheets": []}'), "no notebook of format 4: KeyError"),
        (("list.ipynb", b"[]"), "no notebook of format 4: TypeError"),
        (("cells.ipynb", b'{"cells": [{}]}'), "no notebook of format 4"),
    ],
)
def test_a_source_that_is_broken_is_refused_before_anything_is_made(session, wanted, tmp_path, broken, message):
    source = tmp_path / broken[0]
    source.write_bytes(broken[1])
    with pytest.raises(ConfigurationError, match=message):
        run.run(session, "reviews", source, own_cluster=wanted)
    assert session.cloud.calls == []


@pytest.mark.parametrize(("name", "message"), [("notes.txt", "neither a notebook"), ("missing.py", "there is no file")])
def test_a_source_that_is_none_is_refused(session, tmp_path, name, message):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigurationError, match=message):
        run.run(session, "reviews", tmp_path / name)
