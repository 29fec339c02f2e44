"""The part of Terraform's plugin protocol 6 that a provider needs: its messages, and a gRPC server for it.

The messages are described here by name, type and number (as the protocol's documentation has them), and protobuf makes
the classes: there is no generated code, and what a newer Terraform sends besides is ignored.
"""

from __future__ import annotations

import os
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_MESSAGES = {
    "Value": "msgpack:bytes=1 json:bytes=2",
    "Diagnostic": "severity:int32=1 summary:string=2 detail:string=3",
    "Attribute": "name:string=1 type:bytes=2 required:bool=4 optional:bool=5 computed:bool=6 nested_type:Nested=10 "
    "write_only:bool=11",
    "Nested": "attributes:*Attribute=1 nesting:int32=3",
    "Block": "attributes:*Attribute=2 block_types:*NestedBlock=3",
    "NestedBlock": "name:string=1 block:Block=2 nesting:int32=3 min_items:int64=4 max_items:int64=5",
    "Schema": "version:int64=1 block:Block=2",
    "Named": "key:string=1 value:Schema=2",
    "TypeName": "type_name:string=1",
    "Capabilities": "plan_destroy:bool=1 get_provider_schema_optional:bool=2",
    "Step": "attribute_name:string=1",
    "Path": "steps:*Step=1",
    "RawState": "json:bytes=1",
    "GetMetadata.Response": "capabilities:Capabilities=1 data_sources:*TypeName=3 resources:*TypeName=4",
    "GetProviderSchema.Response": "provider:Schema=1 resources:*Named=2 data_sources:*Named=3 "
    "capabilities:Capabilities=6",
    "GetFunctions.Response": "",
    "GetResourceIdentitySchemas.Response": "",
    "ValidateProviderConfig.Response": "diagnostics:*Diagnostic=1",
    "ValidateResourceConfig.Request": "type_name:string=1 config:Value=2",
    "ValidateResourceConfig.Response": "diagnostics:*Diagnostic=1",
    "ValidateDataResourceConfig.Request": "type_name:string=1 config:Value=2",
    "ValidateDataResourceConfig.Response": "diagnostics:*Diagnostic=1",
    "ConfigureProvider.Response": "diagnostics:*Diagnostic=1",
    "StopProvider.Response": "",
    "UpgradeResourceState.Request": "type_name:string=1 raw_state:RawState=3",
    "UpgradeResourceState.Response": "upgraded_state:Value=1",
    "ReadResource.Request": "type_name:string=1 current_state:Value=2",
    "ReadResource.Response": "new_state:Value=1",
    "PlanResourceChange.Request": "type_name:string=1 prior_state:Value=2 proposed_new_state:Value=3",
    "PlanResourceChange.Response": "planned_state:Value=1 requires_replace:*Path=2",
    "ApplyResourceChange.Request": "type_name:string=1 prior_state:Value=2 planned_state:Value=3",
    "ApplyResourceChange.Response": "new_state:Value=1 diagnostics:*Diagnostic=3",
    "ReadDataSource.Request": "type_name:string=1 config:Value=2",
    "ReadDataSource.Response": "state:Value=1",
    "Empty": "",
}
_BIG = [("grpc.max_receive_message_length", 1 << 28), ("grpc.max_send_message_length", 1 << 28)]


def _build() -> dict[str, type]:
    file = descriptor_pb2.FileDescriptorProto(name="tfplugin6-subset.proto", package="stub", syntax="proto3")
    for name, fields in _MESSAGES.items():
        described = file.message_type.add(name=name.replace(".", "_"))
        for each in fields.split():
            _add_field(described, each)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"stub.{name.replace('.', '_')}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(each) for name, each in found.items()}


def _add_field(described: Any, text: str) -> None:
    name, _, rest = text.partition(":")
    kind, _, number = rest.partition("=")
    repeated = kind.startswith("*")
    field = described.field.add(name=name, number=int(number), label=3 if repeated else 1)
    kind = kind.removeprefix("*")
    if kind in _MESSAGES:
        field.type, field.type_name = field.TYPE_MESSAGE, f".stub.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")


messages = _build()


def serve(provider: Any, socket: Path) -> grpc.Server:
    """Serve a provider on a Unix socket: its methods, called like the protocol's, take a request, return a response."""
    methods = {
        name.removesuffix(".Response"): _handler(provider, name.removesuffix(".Response"))
        for name in _MESSAGES
        if name.endswith(".Response")
    }
    empty = messages["Empty"]()
    quiet = {
        "Shutdown": grpc.unary_unary_rpc_method_handler(lambda _request, _context: empty.SerializeToString()),
        "StreamStdio": grpc.unary_stream_rpc_method_handler(lambda _request, _context: iter(())),
    }
    server = grpc.server(futures.ThreadPoolExecutor(8), options=_BIG)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("tfplugin6.Provider", methods),
            # Terraform asks for these two; without an answer its end is slow and noisy.
            grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": quiet["Shutdown"]}),
            grpc.method_handlers_generic_handler("plugin.GRPCStdio", {"StreamStdio": quiet["StreamStdio"]}),
        )
    )
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    return server


def reattach(address: str, socket: Path) -> dict[str, Any]:
    """The entry of TF_REATTACH_PROVIDERS by which Terraform finds the server, instead of starting a plugin."""
    where = {"Network": "unix", "String": str(socket)}
    return {address: {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": where}}


def _handler(provider: Any, method: str) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        getattr(provider, method),
        request_deserializer=messages.get(f"{method}.Request", messages["Empty"]).FromString,
        response_serializer=messages[f"{method}.Response"].SerializeToString,
    )
