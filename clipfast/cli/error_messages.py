"""What an error is in Chinese, by its code or else its class; and wrong usage of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from clipfast.errors import (
    ArtifactError,
    ClipfastError,
    DataError,
    FingerprintError,
    ImageError,
    MissingExtraError,
    NotComputedError,
    ParityError,
    ProviderError,
    ShapeError,
    UndefinedMetricError,
)

__all__ = ["BY_CLASS", "BY_CODE", "UsageError", "chinese_error", "chinese_usage", "wants_chinese"]

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The parser's own class for wrong usage; typer brings a parser of its own in newer versions."""

# code of an error: what a Chinese reader is told first. The sentence itself follows, with its figures.
BY_CODE: dict[str, str] = {
    "bad_alpha": "alpha 必须是 0 到 1 之间的数，或 fit",
    "bad_crop": "裁剪框超出照片范围",
    "bad_eval_line": "评估集中有一行格式不正确",
    "bad_label": "标签名称无效：标签会成为文件夹名",
    "bad_point": "坐标必须是两个整数 x,y",
    "bad_rules": "规则文件格式不正确",
    "bad_share": "权重必须是 0 到 1 之间的数",
    "bad_sidecar": "图块旁的元数据文件格式不正确",
    "bad_split": "评估集比例必须大于 0 且小于 1",
    "cannot_split": "无法划分评估集：没有一个类别有两张互不相同的照片",
    "declared_same": "该文件与评估图像像素完全相同，即使声明不是副本也不能使用",
    "declared_unknown": "--not-a-copy 指定的文件不在这些图像之中",
    "empty_eval_set": "评估集是空的，请重新生成",
    "empty_reason": "理由不能为空：它会代替证明写入历史",
    "eval_changed": "评估集中的图像已被修改",
    "eval_copy": (
        "训练目录或向量库中混入了评估图像（或其近似副本），请删除；若确为两张不同的照片，请用 --not-a-copy 文件 声明"
    ),
    "eval_fitted_on": "拟合融合权重时用过评估图像，结果不可信，请重新拟合",
    "eval_in_bank": "评估图像同时在向量库中，结果不可信",
    "eval_line_twice": "评估集中有重复的行",
    "eval_moved": "评估集中的图像已被移动或删除",
    "eval_set_exists": "评估集已存在并已冻结，如确需替换请加 --replace",
    "eval_set_spent": "该评估集已用尽，请用新标注的样本重新生成",
    "eval_trained_on": "线性头使用过评估图像训练，结果不可信",
    "file_changed": "文件写入后被修改，校验和不符，请重新生成",
    "frozen_patch": "图块属于已冻结的评估集，不能移动",
    "gain_not_proven": "提升未得到证实，继续使用现有版本，请再标注一些样本",
    "history_changed": "版本历史已被修改，请放回原文件",
    "journal_changed": "标注日志已被修改，校验和不符",
    "label_taken": "该标签已存在，请使用 clipfast label merge",
    "label_twin": "标签与已有标签仅大小写或 Unicode 形式不同",
    "locked": "另一个进程正在写入，请稍候",
    "measured_beside_others": "比较之后使用中的版本已改变，请重新比较",
    "merge_twice": "标签必须合并到另一个标签",
    "never_in_use": "该版本从未启用过；请先启用，或用 --note 说明理由",
    "no_bank": "找不到面料向量库，请先运行 clipfast bank build",
    "no_bank_in_use": "尚未启用任何向量库，请先运行 clipfast models promote data/fabric_bank.npz",
    "no_embeddings": "没有收集到任何嵌入：请检查 data/fabrics/ 的目录结构，应为 <面料>/<图像>",
    "no_eval_picture": "评估集中的图像全部无法读取",
    "no_eval_set": "找不到评估集，请先运行 clipfast evalset make",
    "no_file": "找不到文件",
    "no_folder": "目录不存在",
    "no_head": "找不到线性头，请先运行 clipfast head train",
    "no_label": "没有这个标签",
    "no_patches": "没有找到已标注的图块：目录结构应为 data/patches/labeled/<面料>/patch_001.jpg",
    "no_photo": "找不到照片",
    "no_rules": "找不到规则文件",
    "no_such_item": "没有这个待标注项，请查看 clipfast label next",
    "no_version": "没有这个版本",
    "no_weights": "尚未拟合融合权重，请先运行 clipfast fuse fit",
    "not_bank": "文件不是可读取的面料向量库，请重新构建",
    "not_candidate": "候选文件必须是线性头或向量库（.npz），或融合权重（.json）",
    "not_compared": "替换使用中的版本之前，必须先在评估集上比较",
    "not_head": "文件不是可读取的线性头，请重新训练",
    "not_pointer": "“使用中版本”的记录无法读取，请重新启用",
    "not_weights": "文件不是融合权重，请重新运行 clipfast fuse fit",
    "not_written_by_us": "文件不是 clipfast 写的，或不完整，请重新生成或导入",
    "nothing_before": "没有可回退的版本",
    "nothing_to_undo": "没有可撤销的操作",
    "one_class": "训练样本只有一个类别，至少需要两个",
    "other_format": "文件格式的版本不符",
    "other_model": "文件由另一个模型生成",
    "other_precision": "文件以另一种精度生成",
    "other_rules": "融合权重是用另一套规则拟合的，请重新拟合",
    "outside_photo": "坐标超出照片范围",
    "photo_changed": "待标注项的照片已被修改",
    "photo_gone": "待标注项的照片已不存在",
    "retire_reason": "停用须用 --note 说明理由：之后的候选不再与它比较",
    "same_patch": "该图块已标注过",
    "too_few_patches": "可用于拟合的图块太少，请继续标注",
    "too_few_samples": "训练样本太少：至少需要 20 个（建议 50 个以上）。请继续标注，此前可先使用纯检索模式",
    "unknown_attribute": "规则文件中有未知属性",
}
BY_CLASS: dict[type[Exception], str] = {
    FingerprintError: "文件由另一个模型生成",
    ImageError: "图像无法读取",
    MissingExtraError: "缺少可选依赖",
    UndefinedMetricError: "该指标对这些数据没有定义",
    NotComputedError: "该结果没有计算",
    ProviderError: "所选的执行后端无法在本机运行",
    ParityError: "导出的计算图与参考结果不一致",
    ArtifactError: "文件缺失、损坏或版本不符",
    DataError: "数据不符合要求",
    ShapeError: "数值不符合要求",
}
_PARAMETERS: dict[str, str] = {  # name of an option or argument: what its value must be
    "alpha": "必须是 0 到 1 之间的数，或 fit",
    "lang": "必须是 zh 或 en",
    "split": "必须大于 0 且小于 1",
    "score": "必须是 max、mean 或 centroid",
    "kind": "必须是 head、bank 或 alpha",
}
_KINDS: dict[str, str] = {  # class of wrong usage: what is said
    "MissingParameter": "缺少参数",
    "NoSuchOption": "没有这个选项",
    "NoSuchCommand": "没有这个命令",
    "BadOptionUsage": "选项用法有误",
    "BadArgumentUsage": "参数用法有误",
}
_SPEAK_CHINESE = frozenset({"recommend"})  # commands whose --lang is zh where none is given


def chinese_error(error: ClipfastError | OSError) -> ClipfastError:
    """Return the error with what it is in Chinese before its sentence."""
    if not isinstance(error, ClipfastError):
        reason = error.strerror or type(error).__name__
        return DataError(f"无法读写文件，请检查路径和权限。{error.filename or ''}：{reason}", code="no_access")
    by_class = (BY_CLASS[kind] for kind in type(error).__mro__ if kind in BY_CLASS)
    said = BY_CODE.get(error.code) or next(by_class, "出错")
    return type(error)(f"{said}。{error}", code=error.code)


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
    name = getattr(parameter, "name", None) or ""
    shown = getattr(parameter, "opts", None) or [getattr(error, "option_name", "")]
    word = max((str(each) for each in shown), key=len, default="")
    kind = next((_KINDS[each.__name__] for each in type(error).__mro__ if each.__name__ in _KINDS), None)
    if kind is not None:
        said = f"{kind} {word}".rstrip()
    elif parameter is not None:
        said = f"{word} 的值无效{_wanted(name, parameter)}"
    else:
        said = f"命令用法有误{_wanted(name, parameter)}"
    return UsageError(f"{said}。{error.format_message()}", ctx=error.ctx)  # type: ignore[call-arg]  # as all of its kind


def _wanted(name: str, parameter: Any) -> str:
    if name in _PARAMETERS:
        return f"：{_PARAMETERS[name]}"
    holder = parameter if hasattr(parameter, "min") else getattr(parameter, "type", None)  # by the parser's version
    low, high = getattr(holder, "min", None), getattr(holder, "max", None)
    if low is not None and high is not None:
        return f"：必须在 {low} 到 {high} 之间"
    if low is not None:
        return f"：必须不小于 {low}"
    return ""
