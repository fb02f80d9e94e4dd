"""What the commands of the fabric workflow say, in English and Chinese: one table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from clipfast.cli.answer_messages import ANSWER_MESSAGES
from clipfast.cli.bank_messages import BANK_MESSAGES
from clipfast.cli.error_messages import SPEAKS_CHINESE, chinese_error, wrong_usage
from clipfast.cli.label_messages import LABEL_MESSAGES
from clipfast.cli.models_messages import MODELS_MESSAGES
from clipfast.cli.option_groups import Decorator, takes
from clipfast.cli.training_messages import TRAINING_MESSAGES
from clipfast.errors import ClipfastError
from clipfast.retrieval.rules import Language, require_language

__all__ = ["MESSAGES", "Speaker", "in_language", "takes_language"]

# key: (English, Chinese)
MESSAGES: dict[str, tuple[str, str]] = {
    **ANSWER_MESSAGES,
    **BANK_MESSAGES,
    **LABEL_MESSAGES,
    **MODELS_MESSAGES,
    **TRAINING_MESSAGES,
}


def _known_language(lang: str) -> str:
    if lang not in ("zh", "en"):
        raise wrong_usage(f"must be zh or en; got {lang!r}", "bad_language", got=lang)
    return lang


@dataclass(frozen=True, slots=True)
class Speaker:
    """Says what the table holds, in one language."""

    lang: Language = "en"

    def __call__(self, key: str, /, **values: object) -> str:
        """Return a message with its values put in."""
        return MESSAGES[key][0 if self.lang == "en" else 1].format(**values)


def takes_language(default: Language = "en") -> Decorator:
    """Give a command `--lang`, and hand over its argument `say`; errors of the command come in that language too."""
    option = typer.Option("--lang", callback=_known_language, help="Language of messages and names: en or zh.")
    return takes("say", _speaker, {"lang": (Annotated[str, option], default)}, around=in_language)


def _speaker(*, lang: str) -> Speaker:
    return Speaker(require_language(lang))


@contextmanager
def in_language(say: Speaker) -> Iterator[None]:
    """Where Chinese is spoken, say first in Chinese what an error is; its own sentence follows."""
    token = SPEAKS_CHINESE.set(say.lang == "zh")
    try:
        yield
    except (ClipfastError, OSError) as error:
        if say.lang != "zh":
            raise
        raise chinese_error(error) from error
    finally:
        SPEAKS_CHINESE.reset(token)
