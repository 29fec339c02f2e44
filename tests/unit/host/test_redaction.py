"""Which settings are secret, and what messages and logs do not show."""

from __future__ import annotations

import pytest

from server_utils.host.redaction import has_password, is_secret, scrub


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_KEY",
        "DATABRICKS_TOKEN",
        "NGC_API_KEY",
        "PYTHON_WORKER_FACTORY_SECRET",
        "spark.hadoop.fs.azure.account.key.models.dfs.core.windows.net",
        "spark.hadoop.fs.azure.account.oauth2.client.secret.models.dfs.core.windows.net",
        "spark.hadoop.fs.azure.sas.container.models.blob.core.windows.net",
        "spark.hadoop.fs.gs.auth.service.account.private.key",
        "spark.hadoop.fs.s3a.access.key",
        "spark.kubernetes.authenticate.driver.oauthToken",
        "spark.kafka.sasl.jaas.config",
        "spark.my.accessToken",
        "spark.my.apiKey",
        "spark.my.clientSecret",
        "spark.my.keyPassphrase",
        "spark.ssl.keyStorePassword",
    ],
)
def test_a_name_of_a_password_a_key_or_a_token_is_secret(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "AWS_ACCESS_KEY_ID",
        "NGC_SECRET_NAME",
        "spark.hadoop.fs.azure.account.auth.type",
        "spark.sql.keyValue",
        "spark.tokenizer.path",
        "VLLM_MAX_TOKENS_PER_EXPERT_FUSED_MOE",
    ],
)
def test_a_name_beside_it_is_not(name):
    assert not is_secret(name)


def test_an_address_with_a_password_or_a_token_is_secret():
    assert has_password("jdbc:postgresql://me:pw@host/db")
    assert has_password("https://token@host/simple")
    assert not has_password("abfss://container@account.dfs.core.windows.net/x")


def test_secrets_are_taken_out_of_messages(monkeypatch):
    monkeypatch.setenv("NGC_API_KEY", "my-own-token")
    text = scrub(
        "GET https://h/x?X-Amz-Signature=abc Bearer eyJhbGciOi.x.y https://user:pw@h/ AKIAABCDEFGHIJKLMNOP "
        "my-own-token hf_abcdefghijkl dapi0123456789 another-one",
        secrets=["another-one"],
    )
    for secret in ("abc", "eyJ", "user:pw", "AKIA", "my-own-token", "hf_abc", "dapi0", "another-one"):
        assert secret not in text
    assert text.startswith("GET https://h/x?***")


def test_a_short_value_of_a_secret_variable_takes_no_words_out_of_a_message(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "test")
    assert scrub("a test of it") == "a test of it"


def test_of_two_secrets_that_begin_alike_no_rest_is_left(monkeypatch):
    monkeypatch.setenv("A_PASSWORD", "abcdef")
    monkeypatch.setenv("B_PASSWORD", "abcdef-and-more")
    assert scrub("abcdef-and-more, abcdef") == "***, ***"
