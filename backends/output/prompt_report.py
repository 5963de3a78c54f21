"""What a request is told of its own prompt: its text, and how likely its tokens are. No engine step in here."""

from collections.abc import Sequence as Tokens

from backends.logits import Candidate, TokenScore
from backends.step import PromptScores
from backends.tokenizer import Tokenizer
from backends.wire.messages import PromptShown
from backends.wire.output import PromptToken, TokenLogprob


class PromptReport:
    """Tells each token once, in order, however often the engine computes it.

    Args:
        token_ids: The prompt's.
        text: To be told with the first tokens; "" = none is wanted.
        is_scored: Whether the tokens are wanted.
        num_added: First tokens that do not stand for anything in the prompt's text.
    """

    def __init__(
        self,
        sequence_id: int,
        token_ids: Tokens[int],
        tokenizer: Tokenizer,
        *,
        text: str = "",
        is_scored: bool = False,
        num_added: int = 0,
    ) -> None:
        self._sequence_id = sequence_id
        self._token_ids = token_ids
        self._tokenizer = tokenizer
        self._text = text
        self._is_scored = is_scored
        self._num_added = num_added
        self._num_told = 0

    def on_scores(self, scores: PromptScores) -> list[PromptShown]:
        """Return what is new in what a step has told."""
        num_known = max(0, self._num_told - scores.start)
        new = [
            self._token(place, score) for place, score in enumerate(scores.scores[num_known:], scores.start + num_known)
        ]
        return self._shown(new)

    def finish(self) -> list[PromptShown]:
        """Return what is left to be told when the prompt is computed."""
        is_due = bool(self._text) or (self._is_scored and self._num_told == 0)
        return self._shown([]) if is_due else []

    def _shown(self, tokens: list[PromptToken]) -> list[PromptShown]:
        start = self._num_told
        if start == 0 and self._is_scored:
            tokens = [self._token(0, None), *tokens]
        text, self._text = self._text, ""
        self._num_told += len(tokens)
        return [PromptShown(self._sequence_id, start, text, tuple(tokens))] if tokens or text else []

    def _token(self, place: int, score: TokenScore | None) -> PromptToken:
        token_id = self._token_ids[place]
        piece = b"" if place < self._num_added else self._tokenizer.shown_bytes(token_id)
        if score is None:
            return PromptToken(token_id, piece)
        top = tuple(map(self._logprob, score.likelihoods.top))
        return PromptToken(token_id, piece, score.likelihoods.drawn.logprob, score.rank, top)

    def _logprob(self, candidate: Candidate) -> TokenLogprob:
        return TokenLogprob(candidate.token_id, self._tokenizer.shown_bytes(candidate.token_id), candidate.logprob)
