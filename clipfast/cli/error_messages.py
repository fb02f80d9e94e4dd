"""What an error is in Chinese, by its code or else its class; and wrong usage of the command line."""

from __future__ import annotations

import errno
import logging
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from importlib import resources
from typing import Any

import typer

from clipfast.errors import ClipfastError, DataError

__all__ = [
    "NO_ERRORS",
    "SPEAKS_CHINESE",
    "LogLines",
    "UsageError",
    "chinese_error",
    "chinese_sentences",
    "chinese_usage",
    "wants_chinese",
    "wrong_usage",
]

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The parser's own class for wrong usage; typer brings a parser of its own in newer versions."""

NO_ERRORS = frozenset({"classes", "notices", "problems", "usage"})
"""Groups of the table that are not read by an error's code."""

_KINDS: dict[str, str] = {  # class of wrong usage: what is said
    "MissingParameter": "缺少参数",
    "NoSuchOption": "没有这个选项",
    "NoSuchCommand": "没有这个命令",
    "BadOptionUsage": "选项缺少值",
    "BadArgumentUsage": "参数用法有误",
}
_SAID: tuple[tuple[str, str], ...] = (  # the parser's own words, where no class tells: what is said
    (r"No such command '(?P<word>[^']*)'\.(?: Did you mean '(?P<near>[^']*)'\?)?", "没有这个命令 {word}"),
    (r"Got unexpected extra argument(?:\(s\)|s)? \((?P<word>.*)\)", "多余的参数 {word}"),
    (r"Missing command", "缺少命令"),
)
_DEMO_MODEL = re.compile(r"^(?P<name>\S+) is a small demo model")
SPEAKS_CHINESE: ContextVar[bool] = ContextVar("SPEAKS_CHINESE", default=False)
"""Whether the command that runs was asked to speak Chinese; read by what is handed no `say`."""
_SPEAK_CHINESE = frozenset({"recommend"})  # commands whose --lang is zh where none is given


@lru_cache(maxsize=1)
def chinese_sentences() -> Mapping[str, Mapping[str, str]]:
    """Return the table: by an error's code, but for the groups of `NO_ERRORS`: by its class, or of something else."""
    return tomllib.loads((resources.files("clipfast.cli") / "errors_zh.toml").read_text(encoding="utf-8"))


def chinese_error(error: ClipfastError | OSError) -> ClipfastError:
    """Return the error with what it is in Chinese before its sentence, on a line of its own."""
    if not isinstance(error, ClipfastError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = error.strerror or type(error).__name__
        sentence = f"{error.filename or 'a file'}: {reason}"
        error = DataError(
            sentence, code="no_room" if full else "no_access", path=error.filename or "文件", reason=reason
        )
    chinese = type(error)(f"{_sentence(error)}\n{error}", code=error.code, **error.values)
    chinese.language = "zh"
    return chinese


def _sentence(error: ClipfastError) -> str:
    table = chinese_sentences()
    groups = (group for name, group in table.items() if name not in NO_ERRORS)
    template = next((group[error.code] for group in groups if error.code in group), None)
    if template is not None:
        return template.format(**error.values)
    return next(table["classes"][kind.__name__] for kind in type(error).__mro__ if kind.__name__ in table["classes"])


class LogLines(logging.Formatter):
    """Writes the library's warnings; that the demo model runs is said in Chinese where that is spoken."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = super().format(record)
        found = _DEMO_MODEL.match(line) if SPEAKS_CHINESE.get() else None
        return line if found is None else chinese_sentences()["notices"]["demo_model"].format(**found.groupdict())


def wrong_usage(sentence: str, code: str, *, option: str | None = None, **values: object) -> typer.BadParameter:
    """Return wrong usage that has a code and values, as an error has; `option` is for checks outside of callbacks."""
    error = typer.BadParameter(sentence, param_hint=option)
    error.told = (code, values)  # type: ignore[attr-defined]  # read by chinese_usage
    return error


def wants_chinese(arguments: Sequence[str]) -> bool:
    """Tell from words of the command line, which could not be understood, whether an answer in Chinese is wanted."""
    for at, word in enumerate(arguments):
        if word.startswith("--lang="):
            return word == "--lang=zh"
        if word == "--lang":
            return arguments[at + 1 : at + 2] == ["zh"]
    return bool(_SPEAK_CHINESE & set(arguments[:1]))


def chinese_usage(error: Any) -> Exception:
    """Return wrong usage with what is wrong in Chinese before the parser's own sentence."""
    parameter = getattr(error, "param", None)
    hint = getattr(error, "param_hint", None) or getattr(error, "option_name", "")
    shown = getattr(parameter, "opts", None) or [hint]
    word = max((str(each) for each in shown), key=len, default="")
    kind = next((_KINDS[each.__name__] for each in type(error).__mro__ if each.__name__ in _KINDS), None)
    english = error.format_message()
    if told := getattr(error, "told", None):
        said = chinese_sentences()["usage"][told[0]].format(**told[1])
        said = f"{word} 的值无效：{said}" if word else said
    elif kind is not None:
        said = f"{kind} {word}".rstrip()
    elif parameter is not None:
        said = f"{word} 的值无效{_wanted(parameter, english)}"
    else:
        said = _in_parsers_words(english)
    return UsageError(f"{said}。\n{english}", ctx=error.ctx)  # type: ignore[call-arg]  # as all of its kind


def _in_parsers_words(english: str) -> str:
    for pattern, chinese in _SAID:
        if found := re.match(pattern, english):
            values = found.groupdict()
            near = f"，您是否想用 {values['near']}" if values.get("near") else ""
            return chinese.format(**values) + near
    return "命令用法有误"


def _wanted(parameter: Any, english: str) -> str:
    holder = parameter if hasattr(parameter, "min") else getattr(parameter, "type", None)  # by the parser's version
    low, high = getattr(holder, "min", None), getattr(holder, "max", None)
    kind = "整数" if "integer" in english else "数"
    if low is not None and high is not None:
        return f"：必须是 {low} 到 {high} 之间的{kind}"
    if low is not None:
        return f"：必须是不小于 {low} 的{kind}"
    return f"：必须是{kind}" if "integer" in english or "float" in english or "number" in english else ""
