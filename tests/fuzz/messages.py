"""Generates protobuf messages by their descriptors, on the wire: filled in at random, then damaged or not."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from tests.fuzz.replies import NAMES, mutated

INTEGERS = (0, 1, -1, 7, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
LONG = "long" * 50_000
MOST_DEPTH = 4

Values = Mapping[str, Sequence[Any]]
"""What fields of these names may hold, beside what comes to mind."""


def wire(source: random.Random, descriptor: Descriptor, values: Values) -> bytes:
    """One request or reply of this type, or what somebody might send in its place."""
    chance = source.random()
    if chance < 0.02:
        return source.randbytes(source.choice((0, 1, 10, 1000)))
    data = made(source, descriptor, values).SerializeToString()
    return mutated(source, data) if chance < 0.3 else data


def made(source: random.Random, descriptor: Descriptor, values: Values, depth: int = 0) -> Message:
    """A message with most of its fields."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if source.random() < 0.8:
            _fill(source, message, field, values, depth)
    return message


def is_message(data: bytes, descriptor: Descriptor) -> bool:
    """Whether these bytes are a message of this type."""
    try:
        message_factory.GetMessageClass(descriptor).FromString(data)
    except DecodeError:
        return False
    return True


def _fill(source: random.Random, message: Message, field: FieldDescriptor, values: Values, depth: int) -> None:
    content = getattr(message, field.name)
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    if is_map:
        for key, value in source.choice(values.get(field.name, ({},))).items():
            content[key] = value
        for _ in range(source.choice((0, 0, 0, 1, 3))):
            content[_text(source)] = _text(source)
    elif field.message_type is not None:
        if depth < MOST_DEPTH:
            for _ in range(source.randrange(3) if field.is_repeated else 1):
                part = made(source, field.message_type, values, depth + 1)
                (content.add() if field.is_repeated else content).CopyFrom(part)
                if not field.is_repeated:
                    content.SetInParent()
    elif field.is_repeated:
        content.extend(_scalar(source, field, values) for _ in range(source.randrange(3)))
    else:
        setattr(message, field.name, _scalar(source, field, values))


def _scalar(source: random.Random, field: FieldDescriptor, values: Values) -> Any:
    if field.name in values and source.random() < 0.8:
        return source.choice(values[field.name])
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            text = _text(source)
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_BOOL:
            return source.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            assert field.enum_type is not None
            return source.choice([value.number for value in field.enum_type.values] + [99])
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return source.random()
        case FieldDescriptor.CPPTYPE_INT32:
            return source.choice(INTEGERS[:6])
        case FieldDescriptor.CPPTYPE_INT64:
            return source.choice(INTEGERS)
    return source.choice((0, 1, 2**32 - 1))


def _text(source: random.Random) -> str:
    if source.random() < 0.005:
        return LONG
    return "/".join(source.choice(NAMES) for _ in range(source.choice((1, 1, 1, 2))))
