"""What `clipfast models` says, in English and Chinese; part of the table in `messages`."""

from __future__ import annotations

__all__ = ["MODELS_MESSAGES"]

# key: (English, Chinese)
MODELS_MESSAGES: dict[str, tuple[str, str]] = {
    "models_title": ("Versions in {path}", "{path} 中的版本"),
    "models_in_use": ("   In use: {kind} {version}", "   使用中：{kind} {version}"),
    "models_none": ("   Nothing is in use yet.", "   尚未使用任何版本。"),
    "models_history": ("History", "历史"),
    "models_due": (
        "New samples since the last head: {new}. Retraining pays (from {wanted} on): clipfast head train",
        "自上次训练以来新增 {new} 个样本（达到 {wanted} 个）：建议重新训练 clipfast head train",
    ),
    "models_not_due": (
        "New samples since the last head: {new}; retraining pays from {wanted} on.",
        "自上次训练以来新增 {new} 个样本；达到 {wanted} 个后再训练。",
    ),
    "models_promoted": ("Promoted -> {version}", "已启用 -> {version}"),
    "models_out": ("Taken out of use: {kind}", "已停用：{kind}"),
    "models_back": ("Gone back -> {version}", "已回退 -> {version}"),
    "models_accuracy": (
        "Top@1: {before:.1%} in use, {after:.1%} of the candidate",
        "Top@1：现用 {before:.1%}，候选 {after:.1%}",
    ),
    "models_gain": (
        "Gain: {gain:+z.1%} ({low:+z.1%} to {high:+z.1%}, {share:.1%} interval); of {photos} photos {better} better, "
        "{worse} worse",
        "提升：{gain:+z.1%}（{low:+z.1%} 至 {high:+z.1%}，{share:.1%} 区间）；"
        "{photos} 张照片中 {better} 张变好，{worse} 张变差",
    ),
    "models_retired": (
        "Compared with what answers without any {kind}: {version} was taken out of use, and is the candidate itself or "
        "cannot answer any more.",
        "与没有 {kind} 时比较：{version} 已停用，它就是该候选，或已无法作答。",
    ),
    "models_retired_too": (
        "Compared with what answers without any {kind}, and with {version}, which was taken out of use: the figures "
        "are those of the comparison that says less for the candidate.",
        "分别与没有 {kind} 时以及与已停用的 {version} 比较：所列为对候选较不利的一次比较。",
    ),
    "models_lead": (
        "{needed} of the {of} photos that changed must be better",
        "变化的 {of} 张照片中须有 {needed} 张变好",
    ),
    "models_no_lead": ("only {changed} photos changed: too few to tell", "仅 {changed} 张照片有变化，不足以判断"),
    "models_looks": ("look {look} of {looks} at this evaluation set", "该评估集第 {look} 次使用，共 {looks} 次"),
    "check_proven": ("The gain is proven", "提升已得到证实"),
    "check_looks": ("The evaluation set is not spent", "评估集尚未用尽"),
    "check_bank_used": ("A bank is in use", "有向量库在使用中"),
    "check_versions": ("Every version in use is there and unchanged", "使用中的版本均在原位且未改动"),
    "check_due": ("Fewer than 20 new samples since the last head", "上次训练后新增样本少于 20 个"),
    "check_due_unknown": ("not known", "未知"),
    "column_when": ("When", "时间"),
    "column_who": ("Who", "操作者"),
    "column_what": ("What", "操作"),
    "column_version": ("Version", "版本"),
    "action_compare": ("compare", "比较"),
    "action_promote": ("promote", "启用"),
    "action_rollback": ("rollback", "回退"),
    "action_retire": ("retire", "停用"),
    "column_gain": ("Gain", "提升"),
}
