"""Questions about the loaded model that a worker answers at once, without a step of the engine.

They exist so that no text is ever tokenized, no template rendered and no cache touched in the gateway. Plain data;
`process.serving` has the function that answers.
"""

import msgspec

from backends.wire.prompts import ChatPrompt, Prompt

MAX_TEXT_BYTES = 256 * 1024
"""Longest text that is tokenized for its own sake or to be embedded: what takes a second holds up every running answer
for a second."""


class Tokenize(msgspec.Struct, frozen=True, tag=True):
    """Ask for the tokens of a text; answered by `Tokens`.

    Attributes:
        text: At most MAX_TEXT_BYTES in UTF-8.
        add_special: Whether the BOS token comes first, where the model wants one.
        parse_special: Whether control tokens written in it become their ids.
        with_pieces: Whether each token's bytes are wanted too.
    """

    text: str
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


class Detokenize(msgspec.Struct, frozen=True, tag=True):
    """Ask for the text of tokens; answered by `Text`."""

    token_ids: list[int]


class ApplyTemplate(msgspec.Struct, frozen=True, tag=True):
    """Ask for a conversation as the model's template writes it; answered by `Text`."""

    prompt: ChatPrompt


class CountTokens(msgspec.Struct, frozen=True, tag=True):
    """Ask how many tokens a prompt has; answered by `TokenCount`."""

    prompt: Prompt


class CountTexts(msgspec.Struct, frozen=True, tag=True):
    """Ask how many tokens each of some texts has by itself; answered by `TextCounts`.

    Attributes:
        texts: Together at most MAX_TEXT_BYTES in UTF-8; control tokens written in them count as text.
    """

    texts: list[str]


class Describe(msgspec.Struct, frozen=True, tag=True):
    """Ask for what only the loaded model knows of itself; answered by `Description`."""


class SaveCache(msgspec.Struct, frozen=True, tag=True):
    """Have the cache of a sequence that has ended written to a file of that name; answered by `CacheFile`.

    Attributes:
        owner: As in `SequenceSpec`: others' caches are not there, and each has files of its own.
    """

    sequence_id: int
    file_name: str
    owner: str | None = None


class RestoreCache(msgspec.Struct, frozen=True, tag=True):
    """Have a file that `SaveCache` wrote read back, as a beginning for whatever comes; answered by `CacheFile`.

    Attributes:
        owner: As in `SaveCache`.
    """

    file_name: str
    owner: str | None = None


class EraseCache(msgspec.Struct, frozen=True, tag=True):
    """Have the cache of a sequence that has ended forgotten; answered by `CacheFile`.

    Attributes:
        owner: As in `SaveCache`.
    """

    sequence_id: int
    owner: str | None = None


class GiveBackMemory(msgspec.Struct, frozen=True, tag=True):
    """Say how memory stands, and have what is kept for reuse given back; answered by `GivenBack`.

    Attributes:
        dropped_share: Of the caches of ended sequences, the least recently used first, 0..1.
        is_short: Whether memory is short from now on: what a cancelled sequence leaves is not kept then.
    """

    dropped_share: float
    is_short: bool


TextQuestion = Tokenize | Detokenize | ApplyTemplate | CountTokens | CountTexts | Describe
Question = TextQuestion | SaveCache | RestoreCache | EraseCache | GiveBackMemory


class Tokens(msgspec.Struct, frozen=True, tag=True):
    """The tokens of a text.

    Attributes:
        token_ids: In order.
        pieces: Each token's bytes, where they were asked for; a control token's are those of its name.
    """

    token_ids: list[int]
    pieces: list[bytes] | None = None


class Text(msgspec.Struct, frozen=True, tag=True):
    """A text; bytes that are not UTF-8 are replaced in it."""

    text: str


class TokenCount(msgspec.Struct, frozen=True, tag=True):
    """How many tokens a prompt has."""

    num_tokens: int


class TextCounts(msgspec.Struct, frozen=True, tag=True):
    """How many tokens each text has, in their order."""

    num_tokens: list[int]


class Description(msgspec.Struct, frozen=True, tag=True):
    """What the loaded model says of itself.

    Attributes:
        chat_template: Its Jinja text, or None.
        bos_text: The BOS token as text, "" without one.
        eos_text: The EOS token as text, "" without one.
    """

    chat_template: str | None
    bos_text: str
    eos_text: str


class CacheFile(msgspec.Struct, frozen=True, tag=True):
    """What was saved, restored or erased.

    Attributes:
        sequence_id: Whose cache it is; a restored one has a new id, below 0.
        num_tokens: Tokens that it holds; 0 = there was none.
        num_bytes: Size of the file, 0 where there is none.
    """

    sequence_id: int
    num_tokens: int
    num_bytes: int


class GivenBack(msgspec.Struct, frozen=True, tag=True):
    """What was given back.

    Attributes:
        num_caches: Caches of ended sequences that were dropped.
        freed_bytes: What the process's memory fell by, as the system counts it; below 0 where it grew meanwhile.
    """

    num_caches: int
    freed_bytes: int


Answer = Tokens | Text | TokenCount | TextCounts | Description | CacheFile | GivenBack
