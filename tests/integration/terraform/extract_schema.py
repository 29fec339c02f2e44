"""A provider's schema out of the wheel with its Python bindings, as `terraform providers schema -json` prints it.

The Terraform registry is not needed: the bindings are generated from the provider's own schema, and the TypeScript in
their source maps still says of each attribute whether it is required, optional or computed, and of what type it is.
Compared with the providers' Go sources, types and names agree everywhere. What the bindings do not carry: sensitive,
deprecated, limits on the number of blocks other than one, and everything that is no part of a schema (see `rules.py`).

Runs on a laptop and in tests. Fetches nothing and knows no provider: `refresh_schemas.py` does.
"""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
import zipfile
from dataclasses import dataclass
from typing import Any

_CDK = r"cdkt[fn]\."
_CLASS = re.compile(rf"^export class (\w+) extends {_CDK}(\w+) \{{\n(.*?)^\}}\n", re.MULTILINE | re.DOTALL)
_INTERFACE = re.compile(
    r"^export interface (\w+?)(Config)?(?: extends [^{]+)? \{\n(.*?)^\}\n", re.MULTILINE | re.DOTALL
)
_HCL_FUNCTION = re.compile(r"^export function (\w+)ToHclTerraform\([^\n]*\{\n(.*?)^\}\n", re.MULTILINE | re.DOTALL)
_HCL_METHOD = re.compile(r"synthesizeHclAttributes\(\)[^\n]*\{\n(.*?)\n  \}", re.DOTALL)
_HCL_FIELD = re.compile(r'^ +(\w+): \{\n +value: [^\n]*\n +isBlock: (?:true|false),\n +type: "(\w+)",\n', re.MULTILINE)
_FIELD = re.compile(r"^  // (\w+) - computed: (\w+), optional: (\w+), required: (\w+)\n", re.MULTILINE)
# The comment above an interface's member says "… block" for a block, and nothing of the kind for a nested attribute.
_BLOCK_COMMENT = re.compile(
    r"^  \* \w+ block\n  \*\s*\n  \* Docs at Terraform Registry: \{@link \S+#(\w+) ", re.MULTILINE
)
_KIND = re.compile(
    rf'^export class (\w+) extends {_CDK}Terraform(Resource|DataSource) \{{.*?tfResourceType = "(\w+)"',
    re.MULTILINE | re.DOTALL,
)
_STRUCT = re.compile(
    r"= new (?:(?:index|structs\d*)_?\d*\.)?(\w+?)(OutputReference|List|Map)\(this, \"(\w+)\"(?:, (true|false))?\)"
)
# What a getter calls, from the most to the least specific, and the type that this is.
_TYPES = [
    (re.compile(pattern), kind)
    for pattern, kind in [
        (r"asNumberList\(\S*Fn\.tolist\(", ["set", "number"]),
        (r"Fn\.tolist\(this\.getNumberListAttribute\(", ["set", "number"]),
        (r"Fn\.tolist\(this\.getListAttribute\(", ["set", "string"]),
        (r"this\.getStringAttribute\(", "string"),
        (r"this\.getNumberAttribute\(", "number"),
        (r"this\.getBooleanAttribute\(", "bool"),
        (r"this\.getListAttribute\(", ["list", "string"]),
        (r"this\.getNumberListAttribute\(", ["list", "number"]),
        (rf"this\.getStringMapAttribute\(|new {_CDK}StringMap\(this", ["map", "string"]),
        (rf"this\.getNumberMapAttribute\(|new {_CDK}NumberMap\(this", ["map", "number"]),
        (rf"this\.getBooleanMapAttribute\(|new {_CDK}BooleanMap\(this", ["map", "bool"]),
        (rf"new {_CDK}StringMapList\(this", ["list", ["map", "string"]]),
    ]
]
Schema = dict[str, Any]


@dataclass(frozen=True)
class Bindings:
    """What a wheel holds: the provider's address and version, and the TypeScript of each resource by folder."""

    provider: str
    version: str
    folders: dict[str, str]


def read_wheel(content: bytes, wanted: set[str]) -> Bindings:
    """Unpack a wheel called cdktn-provider-*, and of it the TypeScript of the wanted types."""
    wheel = zipfile.ZipFile(io.BytesIO(content))
    names = wheel.namelist()
    metadata = wheel.read(next(each for each in names if each.endswith("METADATA"))).decode()
    inner = next(each for each in names if "/_jsii/" in each and each.endswith(".jsii.tgz"))
    found = re.search(r"bindings for (\S+) provider version (\S+)", metadata)
    assert found, "the wheel's description does not name the provider it was made from"
    inside = {_folder(each) for each in wanted}
    folders: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(wheel.read(inner)), mode="r:gz") as package:
        for member in package:
            if re.fullmatch(r"package/lib/[^/]+/.+\.js", member.name):
                folder = member.name.split("/")[2]
                if folder not in inside:
                    continue
                folders[folder] = folders.get(folder, "") + _typescript(package.extractfile(member).read().decode())
    return Bindings(f"registry.terraform.io/{found[1]}", found[2], folders)


def _folder(kind: str) -> str:
    # Of "google_storage_bucket" it is "storage-bucket", and of "data.google_project" it is "data-google-project".
    is_data = kind.startswith("data.")
    return kind.replace("data.", "data-").replace("_", "-") if is_data else kind.partition("_")[2].replace("_", "-")


def _typescript(javascript: str) -> str:
    # The compiled code has lost the comments; the source map at its end has the source as it was written.
    source_map = json.loads(base64.b64decode(javascript[javascript.rfind("base64,") + 7 :]))
    return "".join(source_map["sourcesContent"]).replace("\r", "") + "\n"


def extract(bindings: Bindings, wanted: set[str]) -> Schema:
    """The schemas of the wanted types ("google_storage_bucket", "data.google_project") in the format of Terraform."""
    resources: Schema = {}
    data_sources: Schema = {}
    # Google's provider is written with the older SDK, where a nested list that is no block is a list of objects.
    old_sdk = "/databricks/" not in bindings.provider
    for text in bindings.folders.values():
        found = _KIND.search(text)
        if not found:
            continue
        name, kind, terraform_name = found.groups()
        is_data = kind == "DataSource"
        if ("data." if is_data else "") + terraform_name in wanted:
            block = _Resource(text, old_sdk=old_sdk).block(name, name)
            (data_sources if is_data else resources)[terraform_name] = {"block": block, "version": 0}
    missing = wanted - set(resources) - {f"data.{each}" for each in data_sources}
    assert not missing, f"{bindings.provider} {bindings.version} has no {', '.join(sorted(missing))}"
    return {
        "provider": {"block": {}, "version": 0},
        "resource_schemas": resources,
        "data_source_schemas": data_sources,
    }


class _Resource:
    """The TypeScript of one resource, cut into its classes."""

    def __init__(self, text: str, *, old_sdk: bool):
        self.old_sdk = old_sdk
        self.classes = {name: body for name, _, body in _CLASS.findall(text)}
        self.modes = {
            fn[0].upper() + fn[1:]: dict(_HCL_FIELD.findall(body)) for fn, body in _HCL_FUNCTION.findall(text)
        }
        for name, base, body in _CLASS.findall(text):
            if base in {"TerraformResource", "TerraformDataSource"} and (method := _HCL_METHOD.search(body)):
                self.modes[name] = dict(_HCL_FIELD.findall(method[1]))
        self.blocks: dict[str, set[str]] = {}
        for name, config, body in _INTERFACE.findall(text):
            for each in {name, name + config}:
                self.blocks.setdefault(each, set()).update(_BLOCK_COMMENT.findall(body))

    def block(self, class_name: str, struct: str) -> Schema:
        """The schema of the resource or of a block in it; struct is the name of the interface that configures it."""
        result: Schema = {"attributes": {}, "block_types": {}}
        for name, flags, body in self._fields(class_name):
            nested = _STRUCT.search(body)
            if nested and nested[3] == name and f"{nested[1]}OutputReference" in self.classes:
                self._add_nested(result, struct, name, flags, nested)
            else:
                kind = next((each for pattern, each in _TYPES if pattern.search(body)), None)
                assert kind, f"{class_name}.{name}: no type in {body[:120]!r}"
                result["attributes"][name] = {"type": kind, **flags}
        return {key: value for key, value in result.items() if value}

    def _fields(self, class_name: str):
        body = self.classes[class_name]
        heads = list(_FIELD.finditer(body))
        for head, following in zip(heads, [*heads[1:], None], strict=True):
            computed, optional, required = (head[index] == "true" for index in (2, 3, 4))
            flags = {"computed": computed and not required, "optional": optional, "required": required}
            text = body[head.end() : following.start() if following else None]
            yield head[1], {key: True for key, value in flags.items() if value}, text

    def _add_nested(self, result: Schema, struct: str, name: str, flags: Schema, nested: re.Match[str]) -> None:
        inner = self.block(nested[1] + "OutputReference", nested[1])
        mode = self._mode(struct, name, nested)
        configurable = "required" in flags or "optional" in flags
        if name in self.blocks.get(struct, ()):
            result["block_types"][name] = {"block": inner, "nesting_mode": mode, **_limits(flags, nested[2], mode)}
        elif configurable and not (self.old_sdk and mode in {"list", "set"}):
            nested_type = {"attributes": inner.get("attributes", {}), "nesting_mode": mode}
            result["attributes"][name] = {"nested_type": nested_type, **flags}
        else:
            kind = _object_type(inner)
            result["attributes"][name] = {"type": kind if mode == "single" else [mode, kind], **flags}

    def _mode(self, struct: str, name: str, nested: re.Match[str]) -> str:
        if nested[2] == "Map":
            return "map"
        if nested[2] == "List":
            return "set" if nested[4] == "true" else "list"
        said = self.modes.get(struct, {}).get(name, "struct")
        return "single" if said == "struct" else said


def _limits(flags: Schema, shape: str, mode: str) -> Schema:
    if mode == "single":
        return {}
    limits = {"min_items": 1} if "required" in flags else {}
    return limits | ({"max_items": 1} if shape == "OutputReference" else {})


def _object_type(block: Schema) -> list[Any]:
    fields: Schema = {}
    for name, attribute in block.get("attributes", {}).items():
        if "type" in attribute:
            fields[name] = attribute["type"]
        else:
            fields[name] = _wrapped(attribute["nested_type"]["nesting_mode"], _object_type(attribute["nested_type"]))
    for name, nested in block.get("block_types", {}).items():
        fields[name] = _wrapped(nested["nesting_mode"], _object_type(nested["block"]))
    return ["object", fields]


def _wrapped(mode: str, kind: list[Any]) -> list[Any]:
    return kind if mode == "single" else [mode, kind]
