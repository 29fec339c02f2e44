"""A stand-in for a Terraform provider: it has the real one's schema, checks configurations as that one's SDK does, and
answers plans and applies like a cloud that does at once what it is asked.

It holds nothing: Terraform's state is the cloud. What a schema does not say is in `rules.py`. What it can never tell
is whether the cloud would accept the plan: quota, zones without GPUs, permissions.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgpack

from integration.terraform import rules
from integration.terraform.tfplugin import messages

UNKNOWN = msgpack.ExtType(0, b"\0")
_NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}


class StubProvider:
    """One provider, from one schema file. Public methods are the protocol's; `created` and `destroyed` list types."""

    def __init__(self, schema: Path):
        content = json.loads(schema.read_text(encoding="utf-8"))
        self.address = content["provider"]
        self.version = content["provider_version"]
        self.resources = content["resource_schemas"]
        self.data_sources = content["data_source_schemas"]
        self.created: list[str] = []
        self.destroyed: list[str] = []
        self.not_empty: set[str] = set()  # types that the cloud deletes only by force, because something is in them

    def GetMetadata(self, _request, _context):  # noqa: N802 - the protocol's name, as all below
        return messages["GetMetadata.Response"](
            capabilities=_capabilities(),
            data_sources=[{"type_name": each} for each in self.data_sources],
            resources=[{"type_name": each} for each in self.resources],
        )

    def GetProviderSchema(self, _request, _context):  # noqa: N802
        return messages["GetProviderSchema.Response"](
            capabilities=_capabilities(),
            provider={"block": {}},
            resources=[{"key": key, "value": {"block": _block(each["block"])}} for key, each in self.resources.items()],
            data_sources=[
                {"key": key, "value": {"block": _block(each["block"])}} for key, each in self.data_sources.items()
            ],
        )

    def GetFunctions(self, _request, _context):  # noqa: N802
        return messages["GetFunctions.Response"]()

    def GetResourceIdentitySchemas(self, _request, _context):  # noqa: N802
        return messages["GetResourceIdentitySchemas.Response"]()

    def ValidateProviderConfig(self, _request, _context):  # noqa: N802
        return messages["ValidateProviderConfig.Response"]()

    def ConfigureProvider(self, _request, _context):  # noqa: N802
        return messages["ConfigureProvider.Response"]()

    def StopProvider(self, _request, _context):  # noqa: N802
        return messages["StopProvider.Response"]()

    def ValidateResourceConfig(self, request, _context):  # noqa: N802
        found = _problems(self.resources[request.type_name]["block"], request.type_name, _load(request.config))
        return messages["ValidateResourceConfig.Response"](diagnostics=found)

    def ValidateDataResourceConfig(self, request, _context):  # noqa: N802
        key = f"data.{request.type_name}"
        found = _problems(self.data_sources[request.type_name]["block"], key, _load(request.config))
        return messages["ValidateDataResourceConfig.Response"](diagnostics=found)

    def UpgradeResourceState(self, request, _context):  # noqa: N802
        state = json.loads(request.raw_state.json)
        block = self.resources[request.type_name]["block"]
        names = [*block.get("attributes", {}), *block.get("block_types", {})]
        return messages["UpgradeResourceState.Response"](
            upgraded_state=_dump({each: state.get(each) for each in names})
        )

    def ReadResource(self, request, _context):  # noqa: N802
        return messages["ReadResource.Response"](new_state=request.current_state)

    def PlanResourceChange(self, request, _context):  # noqa: N802
        prior, new = _load(request.prior_state), _load(request.proposed_new_state)
        response = messages["PlanResourceChange.Response"]
        if new is None:
            return response(planned_state=request.proposed_new_state)
        if prior is None:
            _walk(self.resources[request.type_name]["block"], new, _unknown_where_computed)
        replaced = rules.replaced_by(request.type_name, prior, new)
        paths = [{"steps": [{"attribute_name": each}]} for each in replaced]
        return response(planned_state=_dump(new), requires_replace=paths)

    def ApplyResourceChange(self, request, _context):  # noqa: N802
        new, kind = _load(request.planned_state), request.type_name
        response = messages["ApplyResourceChange.Response"]
        if new is None:
            if kind in self.not_empty and not _load(request.prior_state).get("force_destroy"):
                refused = {"severity": 1, "summary": f"{kind} is not empty"}
                return response(new_state=request.prior_state, diagnostics=[refused])
            self.destroyed.append(kind)
            return response(new_state=request.planned_state)
        if _load(request.prior_state) is None:
            self.created.append(kind)
        _fill(kind, self.resources[kind]["block"], new, where=_is_unknown)
        return response(new_state=_dump(new))

    def ReadDataSource(self, request, _context):  # noqa: N802
        config = _load(request.config)
        block = self.data_sources[request.type_name]["block"]
        _fill(f"data.{request.type_name}", block, config, where=lambda value: value is None)
        return messages["ReadDataSource.Response"](state=_dump(config))


def _capabilities() -> dict[str, bool]:
    return {"plan_destroy": True, "get_provider_schema_optional": True}


def _block(block: dict[str, Any]) -> dict[str, Any]:
    return {
        "attributes": [_attribute(*each) for each in block.get("attributes", {}).items()],
        "block_types": [
            {
                "name": name,
                "block": _block(nested["block"]),
                "nesting": _NESTING[nested["nesting_mode"]],
                "min_items": nested.get("min_items", 0),
                "max_items": nested.get("max_items", 0),
            }
            for name, nested in block.get("block_types", {}).items()
        ],
    }


def _attribute(name: str, attribute: dict[str, Any]) -> dict[str, Any]:
    flags = {key: True for key in ("required", "optional", "computed", "write_only") if attribute.get(key)}
    if "type" in attribute:
        return {"name": name, "type": json.dumps(attribute["type"]).encode(), **flags}
    nested = attribute["nested_type"]
    attributes = [_attribute(*each) for each in nested["attributes"].items()]
    return {
        "name": name,
        "nested_type": {"attributes": attributes, "nesting": _NESTING[nested["nesting_mode"]]},
        **flags,
    }


def _load(value: Any) -> Any:
    if value.msgpack:
        return msgpack.unpackb(value.msgpack, strict_map_key=False)
    return json.loads(value.json) if value.json else None


def _dump(value: Any) -> dict[str, bytes]:
    return {"msgpack": msgpack.packb(value)}


def _is_unknown(value: Any) -> bool:
    return isinstance(value, msgpack.ExtType)


def _elements(nested: dict[str, Any], value: Any) -> list[dict[str, Any]]:
    """The objects in the value of a nested block or attribute."""
    if value is None or _is_unknown(value):
        return []
    if nested["nesting_mode"] == "single":
        return [value]
    found = value.values() if nested["nesting_mode"] == "map" else value
    return [each for each in found if not _is_unknown(each)]


def _walk(block: dict[str, Any], value: dict[str, Any], change: Any) -> None:
    """Replace each attribute by change(name, attribute, value), down all nested blocks, in place."""
    for name, attribute in block.get("attributes", {}).items():
        nested = attribute.get("nested_type")
        if nested and value.get(name) is not None and not _is_unknown(value[name]):
            for each in _elements(nested, value[name]):
                _walk(nested, each, change)
        else:
            value[name] = change(name, attribute, value.get(name))
    for name, nested in block.get("block_types", {}).items():
        for each in _elements(nested, value.get(name)):
            _walk(nested["block"], each, change)


def _unknown_where_computed(_name: str, attribute: dict[str, Any], value: Any) -> Any:
    return UNKNOWN if value is None and attribute.get("computed") else value


def _problems(block: dict[str, Any], kind: str, config: dict[str, Any]) -> list[dict[str, Any]]:
    """What a provider refuses before any plan: values for what only it sets, and whatever breaks a rule."""
    found: list[str] = []

    def look(name, attribute, value):
        if value is not None and attribute.get("computed") and not attribute.get("optional"):
            found.append(f'Can\'t configure a value for "{name}": it is decided when the configuration is applied.')
        return value

    _walk(block, config, look)
    found += rules.violations(kind, config)
    return [{"severity": 1, "summary": f"{kind}: {each}", "detail": each} for each in found]


def _fill(kind: str, block: dict[str, Any], value: dict[str, Any], *, where: Any) -> None:
    """Decide what only the provider can: by a template of `rules.py`, else a word that depends on the rest alone."""
    known = {key: each for key, each in value.items() if isinstance(each, str | int)}
    templates = rules.COMPUTED.get(kind, {})

    def decide(name, attribute, old):
        if not where(old) or not attribute.get("computed"):
            return old
        if name in templates:
            template = templates[name]
            return template.format(**known) if isinstance(template, str) else template
        return _made_up(attribute.get("type"), f"{kind} {name} {json.dumps(known, sort_keys=True)}")

    _walk(block, value, decide)


def _made_up(kind: Any, seed: str) -> Any:
    simple = {"string": "stub-" + hashlib.sha256(seed.encode()).hexdigest()[:8], "number": 0, "bool": False}
    if isinstance(kind, str):
        return simple[kind]
    if kind is None or kind[0] in {"list", "set"}:
        return []
    if kind[0] == "map":
        return {}
    return {name: _made_up(each, seed + name) for name, each in kind[1].items()}
