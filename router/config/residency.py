"""How many models may be loaded at a time: types of the config's keys `residency` and `groups`; part of `schema`."""

from typing import Annotated, Literal

from msgspec import Meta

ResidencyMode = Literal["exclusive", "budget", "groups"]

GroupMember = Annotated[
    str,
    Meta(
        pattern=r"^[^\s@]{1,200}(@[^\s@]{1,80})?$",
        description="a model's name, or name@engine",
    ),
]
Groups = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=64)],
        Annotated[tuple[GroupMember, ...], Meta(min_length=1, max_length=64)],
    ],
    Meta(
        description="names of groups, each with a list of models, like {work: [qwen3-8b, nomic-embed]}", max_length=64
    ),
]
