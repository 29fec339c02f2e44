"""Which requests exist, and with which fields: read from databricks-sdk's own source, so that it follows each release.

The SDK has no classes for requests: its methods take flat arguments. So the routes, the verbs and the keys of bodies
and queries come from the syntax tree of those methods, and the types of values from their annotations. Nested values
are the SDK's dataclasses and enums. What the SDK could not have sent is refused, as the service refuses it.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import importlib
import re
import typing
from pathlib import Path

from support.databricks_server.refusals import Refusal, invalid, malformed

# The part of the API that this server knows: module of databricks.sdk.service -> classes.
_SERVED = {
    "catalog": ("CatalogsAPI", "GrantsAPI", "SchemasAPI", "VolumesAPI"),
    "compute": ("ClusterPoliciesAPI", "ClustersAPI"),
    "files": ("FilesAPI",),
    "iam": ("CurrentUserAPI", "GroupsV2API"),
    "jobs": ("JobsAPI",),
    "workspace": ("WorkspaceAPI",),
}
# What the SDK's mixins send besides, from code that no syntax tree of a service shows.
_FILES = "/api/2.0/fs"
_MIXINS = (
    ("POST", f"{_FILES}/files{{file_path}}", {"parts": list[typing.Any]},
     {"action": str, "overwrite": bool, "session_token": str, "upload_type": str}),
    ("POST", f"{_FILES}/create-upload-part-urls",
     {"path": str, "session_token": str, "start_part_number": int, "count": int, "expire_time": str}, {}),
    ("POST", f"{_FILES}/create-abort-upload-url", {"path": str, "session_token": str, "expire_time": str}, {}),
    ("POST", f"{_FILES}/create-download-url", {}, {"path": str, "expire_time": str}),
)  # fmt: skip
# Older versions that the service takes too, for what is the same in them. The first command line asks these.
_OLDER = re.compile(r"/api/2\.[012]/(clusters|jobs)/")
_NEWEST = {"clusters": "2.1", "jobs": "2.2"}
_MIXIN_QUERIES = {("GET", "/api/2.0/workspace/export"): {"direct_download": bool}}
_NUMBER = re.compile(r"-?\d+")


@dataclasses.dataclass(frozen=True)
class Route:
    """One method of the API. types: of each field, by its name. required: the fields that have no default."""

    verb: str
    template: str
    body: dict
    query: dict
    required: frozenset

    @functools.cached_property
    def pattern(self):
        return re.compile(re.sub(r"\\\{(\w+)\\\}", _group, re.escape(self.template)) + "$")


def _group(match):
    # A path of a file has several segments, and begins with a slash.
    many = match[1].endswith("_path")
    return f"(?P<{match[1]}>{'/.*' if many else '[^/]+'})"


@functools.cache
def routes():
    """(verb, template) -> Route, for all that is served."""
    routes = [route for module, names in _SERVED.items() for name in names for route in _routes_of(module, name)]
    routes += [
        Route(verb, template, body, query, frozenset(body) - {"parts"}) for verb, template, body, query in _MIXINS
    ]
    table = {(route.verb, route.template): route for route in routes}
    for key, query in _MIXIN_QUERIES.items():
        table[key].query.update(query)
    return table


def _routes_of(module_name, class_name):
    module = importlib.import_module(f"databricks.sdk.service.{module_name}")
    # Only this class is parsed: whole modules have ten thousand lines.
    text = f"{Path(module.__file__).read_text()}\nend"
    source = re.search(rf"^class {class_name}:.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)[0]
    (tree,) = ast.parse(source).body
    for method in [each for each in tree.body if isinstance(each, ast.FunctionDef)]:
        hints = typing.get_type_hints(getattr(getattr(module, class_name), method.name))
        yield from _routes_of_method(method, hints)


def _routes_of_method(method, hints):
    sent = {"body": {}, "query": {}}
    for node in ast.walk(method):
        match node:
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=part), slice=ast.Constant(value=key))]):
                if part in sent:
                    sent[part][key] = hints.get(key, typing.Any)
            case ast.Assign(targets=[ast.Name(id="body")], value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
                sent["body"] |= typing.get_type_hints(hints[name])
    required = _required(method)
    for node in ast.walk(method):
        match node:
            case ast.Call(func=ast.Attribute(attr="do"), args=[ast.Constant(value=verb), path, *_]):
                yield Route(verb, _template(path), sent["body"], sent["query"], required)


def _required(method):
    flat = [argument.arg for argument in method.args.args[1:]]
    pairs = zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True)
    return frozenset(flat + [argument.arg for argument, default in pairs if default is None])


def _template(path):
    if isinstance(path, ast.Constant):
        return path.value
    parts = [part.value if isinstance(part, ast.Constant) else f"{{{_name(part.value)}}}" for part in path.values]
    return "".join(parts)


def _name(expression):
    return next(node.id for node in ast.walk(expression) if isinstance(node, ast.Name) and not node.id.startswith("_"))


def find(verb, path):
    """(Route, values of the path) of a request. Raises Refusal for what the API does not have."""
    path = _OLDER.sub(lambda match: f"/api/{_NEWEST[match[1]]}/{match[1]}/", path)
    for route in routes().values():
        if route.verb == verb and (match := route.pattern.match(path)):
            return route, match.groupdict()
    raise Refusal(404, "ENDPOINT_NOT_FOUND", f"No API found for '{verb} {path}'")


def check_body(route, body):
    """Refuse a body that has unknown fields, values of other types, or not all that it must have."""
    _check_fields(body, route.body, "request")
    for name in sorted(route.required & set(route.body)):
        if body.get(name) is None:
            raise invalid(f"Missing required field: {name}")


def check_query(route, query):
    """Refuse a query that has unknown keys or values that are none of their type. query: key -> list of strings."""
    known = dict(_flat(route.query))
    for key, values in query.items():
        if key not in known:
            raise malformed(f"unknown query parameter '{key}'")
        for value in values:
            _check_text(known[key], value, key)


def _flat(fields, before=""):
    for name, kind in fields.items():
        bare = _bare(kind)
        if dataclasses.is_dataclass(bare):
            yield from _flat(typing.get_type_hints(bare), f"{before}{name}.")
        else:
            yield before + name, bare


def _check_text(kind, value, where):
    kind = _bare(typing.get_args(kind)[0]) if typing.get_origin(kind) is list else kind
    if kind is int and not _NUMBER.fullmatch(value):
        raise malformed(f"'{where}': '{value}' is no number")
    if kind is bool and value not in {"true", "false"}:
        raise malformed(f"'{where}': '{value}' is no boolean")
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        _check_enum(kind, value, where)


def _bare(kind):
    """The type inside Optional[…]."""
    if typing.get_origin(kind) is typing.Union:
        return next(each for each in typing.get_args(kind) if each is not type(None))
    return kind


def _check_fields(values, fields, where):
    if not isinstance(values, dict):
        raise malformed(f"'{where}' must be an object, and is {values!r}")
    for name, value in values.items():
        if name not in fields:
            raise malformed(f"unknown field '{name}' in '{where}'")
        _check_value(_bare(fields[name]), value, name if where == "request" else f"{where}.{name}")


def _check_value(kind, value, where):
    if value is None or kind is typing.Any:
        return
    if dataclasses.is_dataclass(kind):
        _check_fields(value, _fields(kind), where)
    elif typing.get_origin(kind) is list:
        _check_list(typing.get_args(kind)[0], value, where)
    elif typing.get_origin(kind) is dict:
        _check_map(typing.get_args(kind)[1], value, where)
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        _check_enum(kind, value, where)
    elif kind in {str, int, bool, float}:
        _check_scalar(kind, value, where)


@functools.cache
def _fields(kind):
    return typing.get_type_hints(kind)


def _check_list(kind, value, where):
    if not isinstance(value, list):
        raise malformed(f"'{where}' must be an array, and is {value!r}")
    for number, each in enumerate(value):
        _check_value(_bare(kind), each, f"{where}[{number}]")


def _check_map(kind, value, where):
    if not isinstance(value, dict):
        raise malformed(f"'{where}' must be a map, and is {value!r}")
    for name, each in value.items():
        _check_value(_bare(kind), each, f"{where}.{name}")


def _check_enum(kind, value, where):
    if value not in [each.value for each in kind]:
        raise invalid(f"'{where}': {value!r} is not one of {', '.join(each.value for each in kind)}")


def _check_scalar(kind, value, where):
    right = isinstance(value, (int, float) if kind is float else kind)
    if not right or (isinstance(value, bool) and kind is not bool):
        raise malformed(f"'{where}' must be of type {kind.__name__}, and is {value!r}")
