"""What the commands of the fabric workflow say, in English and Chinese: one table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from clipfast.cli.bank_messages import BANK_MESSAGES
from clipfast.cli.error_messages import chinese_error
from clipfast.cli.option_groups import Decorator, takes
from clipfast.errors import ClipfastError
from clipfast.report.fonts import NO_CHINESE_FONT
from clipfast.retrieval.rules import Language, require_language

__all__ = ["MESSAGES", "Speaker", "in_language", "takes_language"]

# key: (English, Chinese)
MESSAGES: dict[str, tuple[str, str]] = {
    **BANK_MESSAGES,
    "class_distribution": ("Class Distribution:", "类别分布："),
    "class_samples": ("  {name}: {count} samples", "  {name}：{count} 个样本"),
    "total_samples": ("Total: {samples} samples, {classes} classes", "合计：{samples} 个样本，{classes} 个类别"),
    "left_out": (
        "Left out: {count} samples of the evaluation set {path}",
        "已排除评估集 {path} 中的 {count} 个样本",
    ),
    "no_eval_set": (
        "No evaluation set was found beside {folder}: nothing is left out, so these patches cannot measure anything.",
        "在 {folder} 旁没有找到评估集：未排除任何样本，因此不能再用这些图块评估。",
    ),
    "encoding": ("Encoding", "编码中"),
    "reading": ("Reading", "读取中"),
    "asking": ("Asking", "评估中"),
    "training": ("Training LogisticRegression classifier...", "正在训练 LogisticRegression 分类器……"),
    "saved_head": ("Saved linear head -> {path}", "已保存线性头 -> {path}"),
    "head_model": (
        "   Model: LogisticRegression, strength {strength:g}, temperature {temperature:.3g}",
        "   模型：LogisticRegression，强度 {strength:g}，温度 {temperature:.3g}",
    ),
    "head_classes": ("   Classes: {count}", "   类别数：{count}"),
    "cv_accuracy": (
        "   Cross-validated accuracy: {share:.2%} ({low:.1%} to {high:.1%})",
        "   交叉验证准确率：{share:.2%}（{low:.1%} 至 {high:.1%}）",
    ),
    "calibration": (
        "   Calibration error: {before:.3f} before, {after:.3f} after the temperature",
        "   校准误差：温度校准前 {before:.3f}，校准后 {after:.3f}",
    ),
    "file_size": ("   File size: {size}", "   文件大小：{size}"),
    "saved_onnx": (
        "Saved image-to-class graph -> {path} ({size}; differs from NumPy by {diff:.1e} at most)",
        "已保存图像到类别的计算图 -> {path}（{size}；与 NumPy 最大相差 {diff:.1e}）",
    ),
    "check_written": ("File written", "文件已生成"),
    "check_read_back": ("{path}, read back", "{path}，已重新读取"),
    "check_cv": ("Cross-validated accuracy above 80 %", "交叉验证准确率高于 80 %"),
    "check_cv_more": ("{share:.1%}; below, more samples are needed", "{share:.1%}；若低于此值则需要更多数据"),
    "check_balance": ("Classes are balanced", "各类别样本数相对平衡"),
    "check_balance_of": ("{least} to {most} samples a class", "每类 {least} 至 {most} 个样本"),
    "check_per_class": ("5 samples of every class or more", "每个类别至少 5 个样本"),
    "check_enough": ("50 samples or more", "样本数达到 50 个"),
    "of": ("{good} of {total}{others}", "{total} 个中的 {good} 个{others}"),
    "not": (" (not: {names})", "（不含：{names}）"),
    "generating": ("Generating evaluation set (split ratio: {split:.0%})", "正在生成评估集（比例：{split:.0%}）"),
    "split_line": ("[{name}] Total: {total}, Test: {test}", "[{name}] 总数：{total}，测试：{test}"),
    "saved_eval": ("Generated evaluation set -> {path}", "已生成评估集 -> {path}"),
    "eval_samples": ("   Total samples: {count}", "   样本总数：{count}"),
    "eval_version": ("   Version: {version}", "   版本：{version}"),
    "kept_together": (
        "   Kept together: {count} patches that share a photo with others, or nearly repeat one",
        "   保持同侧：{count} 个图块与其他图块来自同一照片或几乎相同",
    ),
    "sample_entries": ("Sample entries:", "样本示例："),
    "conflicts_more": ("and {count} more; --json lists all", "另有 {count} 处；--json 列出全部"),
    "conflict": (
        "[CONFLICT] {one} and {other} are nearly the same picture with two labels",
        "[冲突] {one} 与 {other} 几乎是同一张图，但标签不同",
    ),
    "no_photo": (
        "[NO PHOTO] {name}: its source photo is not there, so the patch itself is used",
        "[缺照片] {name}：来源照片不存在，改用图块本身",
    ),
    "declared": (
        "[DECLARED] {path} is no copy of {image}, though it looks like it",
        "[声明] {path} 与 {image} 相似，但已声明不是其副本",
    ),
    "skipped": ("[SKIPPED] {path}: {reason}", "[跳过] {path}：{reason}"),
    "check_every_class": ("Every class has a test sample", "每个类别至少有 1 个测试样本"),
    "check_lines": ("One JSON object a line", "JSONL 格式正确（每行一个 JSON 对象）"),
    "check_no_conflict": ("No picture has two labels", "没有一图两标的情况"),
    "verified": ("All {count} pictures are there and unchanged.", "全部 {count} 张图像均在原位且未改动。"),
    "label_added": ("Labelled {label} -> {path}", "已标注 {label} -> {path}"),
    "label_held_out": (
        "Its photo is in the evaluation set: this patch is never trained on.",
        "该照片属于评估集：此图块不会用于训练。",
    ),
    "label_undone": ("Undone: {what}", "已撤销：{what}"),
    "label_moved": ("{one} -> {other}: {count} patches", "{one} -> {other}：{count} 个图块"),
    "label_eval_moved": (
        "The evaluation set followed: {count} samples; its version is now {version}.",
        "评估集已同步更新：{count} 个样本；新版本为 {version}。",
    ),
    "label_behind_bank": (
        "The bank still says {one}: rename its folder of photos to {other}, then clipfast bank build",
        "向量库中仍为 {one}：请把照片文件夹改名为 {other}，再运行 clipfast bank build",
    ),
    "label_behind_head": (
        "The head still says {one}: clipfast head train, then clipfast fuse fit --head",
        "线性头中仍为 {one}：请运行 clipfast head train，再运行 clipfast fuse fit --head",
    ),
    "label_behind_rules": (
        "The rules 'fine' know {one}; for {other}, write it into rules of your own (--rules FILE)",
        "规则 fine 中为 {one}；如需 {other}，请写入自己的规则文件（--rules 文件）",
    ),
    "label_none_waits": ("Nothing waits for a label.", "没有等待标注的图块。"),
    "label_waits": ("{shown} of {total} that wait for a label:", "{total} 个等待标注，显示 {shown} 个："),
    "label_skipped": ("Skipped: {item}", "已跳过：{item}"),
    "label_queued": (
        "Waits for a label ({why}): clipfast label add --item {item} --label ...",
        "已加入待标注队列（{why}）：clipfast label add --item {item} --label ...",
    ),
    "label_random": ("picked by chance", "随机抽取"),
    "label_uncertain": ("uncertain", "置信度低"),
    "label_none_of_these": ("none of these", "以上皆非"),
    "label_held": ("   Of the evaluation set, never trained on: {count}", "   属于评估集、不用于训练：{count}"),
    "label_new": ("   Not trained on yet: {count}", "   尚未用于训练：{count}"),
    "label_by_hand": ("   Put there by hand: {count}", "   手动放入：{count}"),
    "label_waiting": (
        "   Waiting: {uncertain} uncertain, {none_of_these} none of these, {random} picked by chance",
        "   等待标注：低置信度 {uncertain} 个，以上皆非 {none_of_these} 个，随机抽取 {random} 个",
    ),
    "label_by_chance": (
        "   First answer right on those picked by chance: {share:.1%} ({low:.1%} to {high:.1%})",
        "   随机抽取样本的首位正确率：{share:.1%}（{low:.1%} 至 {high:.1%}）",
    ),
    "label_retrain": (
        "{count} new samples: train again: clipfast head train",
        "新增 {count} 个样本：建议重新训练：clipfast head train",
    ),
    "label_mended": ("Mended: {what}", "已修复：{what}"),
    "column_item": ("Item", "编号"),
    "column_photo": ("Photo", "照片"),
    "column_region": ("Part", "区域"),
    "column_confidence": ("Confidence", "置信度"),
    "column_answers": ("Answers", "候选"),
    "column_why": ("Why", "原因"),
    "check_label_there": ("Patch and side-car are there", "图块与元数据已写入"),
    "check_label_moved": ("Every patch is in its place", "所有图块均已就位"),
    "check_label_journal": ("Journal and folder agree", "日志与目录一致"),
    "check_label_journal_of": ("{missing} missing, {changed} changed", "缺失 {missing} 个，被修改 {changed} 个"),
    "check_label_least": ("20 samples or more", "样本数达到 20 个"),
    "check_label_retrain": ("Fewer than 20 new samples since training", "上次训练后新增样本少于 20 个"),
    "eval_title": ("CLIP Retrieval Evaluation (JSONL)", "CLIP 检索评估（JSONL）"),
    "eval_set": ("Eval set: {path}", "评估集：{path}"),
    "processing": ("Processing {count} samples...", "正在处理 {count} 个样本……"),
    "results": ("Results", "结果"),
    "results_of": (": {patches} patches of {photos} photos", "：{photos} 张照片的 {patches} 个图块"),
    "eval_photos": (
        "Intervals and comparisons count the {photos} photos: patches of one photo are not independent.",
        "区间与比较按 {photos} 张照片计算：同一张照片的图块并不独立。",
    ),
    "processed": ("Successfully processed: {count}", "成功处理：{count}"),
    "errors": ("Errors: {count}", "错误：{count}"),
    "top_line": (
        "Top@{k} Accuracy: {share:.2%} ({right}/{total}), 95 % interval {low:.1%} to {high:.1%}",
        "Top@{k} 准确率：{share:.2%}（{right}/{total}），95 % 区间 {low:.1%} 至 {high:.1%}",
    ),
    "column_phase": ("Phase", "阶段"),
    "column_latency": ("p50 / p95 ms", "p50 / p95 毫秒"),
    "gain": (
        "{better} less {than}: {gain:+z.1%} ({low:+z.1%} to {high:+z.1%}), McNemar p = {p:.3g}",
        "{better} 相对 {than}：{gain:+z.1%}（{low:+z.1%} 至 {high:+z.1%}），McNemar p = {p:.3g}",
    ),
    "per_class": ("Right at the first place, by fabric ({phase}):", "各面料 Top@1（{phase}）："),
    "class_line": ("  {name}: {right} of {total}", "  {name}：{total} 个中 {right} 个"),
    "confusions": ("Most frequent confusions ({phase}):", "最常见的混淆（{phase}）："),
    "confusion_line": ("  {name} taken for {other}: {count}", "  {name} 被认作 {other}：{count} 次"),
    "unknown_labels": (
        "Neither bank nor rules know: {names}. Pictures of them can never be right.",
        "向量库与规则均不包含：{names}。这些图像不可能答对。",
    ),
    "no_rules": (
        "No fabric of the evaluation set has a rule in {rules}; the rules are left out.",
        "评估集中的面料在规则 {rules} 中均无条目；不使用规则。",
    ),
    "check_top1": ("Top@1 above 75 %", "Top@1 准确率高于 75 %"),
    "check_top3": ("Top@3 above 90 %", "Top@3 准确率高于 90 %"),
    "check_errors": ("No errors", "无错误"),
    "check_better": ("{better} is better than {than}", "{better} 优于 {than}"),
    "fit_curve": ("Weight of the rules on {count} validation patches:", "规则权重 alpha（{count} 个验证图块）："),
    "fit_chosen": (
        "Chosen: alpha = {alpha:g}{share}; temperatures {rules:.3g} (rules), {bank:.3g} (bank)",
        "选定：alpha = {alpha:g}{share}；温度 {rules:.3g}（规则）、{bank:.3g}（向量库）",
    ),
    "fit_share": (", the head's share {share:g}", "，线性头占比 {share:g}"),
    "fit_left_out": (
        "Left out: {excluded} in the evaluation set, {in_bank} in the bank, {alone} that no head could be made without",
        "已排除：评估集 {excluded} 个，向量库 {in_bank} 个，无法交叉验证 {alone} 个",
    ),
    "saved_fusion": ("Saved fitted weights -> {path}", "已保存融合权重 -> {path}"),
    "check_excluded": ("The evaluation set was left out", "已排除评估集"),
    "check_excluded_none": ("there was none", "没有评估集"),
    "check_inside": ("The best alpha is not at an end of its range", "最佳 alpha 不在区间端点"),
    "check_samples": ("50 patches or more", "图块达到 50 个"),
    "attributes": (
        "Attributes: {colour}, {pattern}, sheen {sheen:.2f}, texture {texture:.2f}, directionality {direction:.2f}",
        "属性：{colour}，{pattern}，光泽 {sheen:.2f}，纹理 {texture:.2f}，方向性 {direction:.2f}",
    ),
    "confidence": (
        "Confidence: {share:.0%}{note}",
        "置信度：{share:.0%}{note}",
    ),
    "confidence_share": (
        " (the first fabric's share; fit it: clipfast fuse fit)",
        "（仅为首位占比；请先运行 clipfast fuse fit 校准）",
    ),
    "confidence_fitted": (
        " (the first fabric's share; {path} is fitted: pass --alpha fit)",
        "（仅为首位占比；{path} 已拟合，请加上 --alpha fit）",
    ),
    "confidence_promote": (
        " (the first fabric's share; {path} is fitted: clipfast models promote {path})",
        "（仅为首位占比；{path} 已拟合，请运行 clipfast models promote {path}）",
    ),
    "confidence_low": (" - below 50 %: worth a label", "——低于 50 %，建议标注"),
    "none_of_these": (
        "None of these: the bank seems not to hold this fabric. The nearest are:",
        "以上皆非：向量库中似乎没有这种面料。最接近的是：",
    ),
    "eval_confidence": (
        "Confidence {mean:.1%} on average; calibration error {error:.3f}; below 50 %: {uncertain}; "
        "none of these: {refused} of {known} that the bank holds, {noticed} of {strange} that it does not",
        "平均置信度 {mean:.1%}；校准误差 {error:.3f}；低于 50 %：{uncertain} 个；"
        "判为“以上皆非”：向量库所含的 {known} 个中 {refused} 个，未含的 {strange} 个中 {noticed} 个",
    ),
    "fit_confidence": (
        "Confidence: {right} of {samples} right, calibration error {error:.3f} on held-out folds",
        "置信度：{samples} 个中 {right} 个正确，留出折的校准误差 {error:.3f}",
    ),
    "fit_openset": (
        "None of these: {noticed:.0%} of left-out fabrics are noticed at {rate:.0%} false refusals",
        "以上皆非：误拒率 {rate:.0%} 时可识别 {noticed:.0%} 的未收录面料",
    ),
    "fit_no_openset": (
        "None of these: {samples} patches are too few for a threshold; nothing is refused",
        "以上皆非：{samples} 个图块不足以确定阈值，不拒答",
    ),
    "models_title": ("Versions in {path}", "{path} 中的版本"),
    "models_in_use": ("   In use: {kind} {version}", "   使用中：{kind} {version}"),
    "models_none": ("   Nothing is in use yet.", "   尚未使用任何版本。"),
    "models_history": ("History", "历史"),
    "models_due": (
        "{new} new samples since the last head: retraining pays (from {wanted} on): clipfast head train",
        "自上次训练以来新增 {new} 个样本（达到 {wanted} 个）：建议重新训练 clipfast head train",
    ),
    "models_not_due": (
        "{new} new samples since the last head; retraining pays from {wanted} on.",
        "自上次训练以来新增 {new} 个样本；达到 {wanted} 个后再训练。",
    ),
    "models_promoted": ("Promoted -> {version}", "已启用 -> {version}"),
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
        "Compared with what answers without any {kind}: {version} was taken out of use. This does not say that the "
        "candidate is better than that one.",
        "比较对象中没有 {kind}：{version} 已停用。此结果并不说明候选优于它。",
    ),
    "models_lead": (
        "{needed} of the {of} photos that changed must be better",
        "变化的 {of} 张照片中须有 {needed} 张变好",
    ),
    "models_no_lead": ("only {changed} photos changed: too few to tell", "仅 {changed} 张照片有变化，不足以判断"),
    "models_looks": ("look {look} of {looks} at this evaluation set", "该评估集第 {look} 次使用，共 {looks} 次"),
    "check_proven": ("The gain is proven", "提升已得到证实"),
    "check_looks": ("The evaluation set is not spent", "评估集尚未用尽"),
    "check_confidence": ("Confidence is calibrated", "置信度已校准"),
    "check_certain": ("Confidence of 50 % or more", "置信度达到 50 %"),
    "check_known": ("The bank seems to hold this fabric", "向量库中似乎有这种面料"),
    "check_in_bank": ("The first fabric has photos in the bank", "首位面料在向量库中有照片"),
    "recommend_fitted": ("yes", "是"),
    "recommend_not_fitted": ("no; fit it: clipfast fuse fit", "否；请运行 clipfast fuse fit"),
    "recommend_fitted_not_used": ("no; pass --alpha fit", "否；请加上 --alpha fit"),
    "recommend_not_promoted": (
        "no; put it to use: clipfast models promote {path}",
        "否；请运行 clipfast models promote {path}",
    ),
    "recommend_none": ("none of these", "以上皆非"),
    "recommend_some": ("yes", "是"),
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
    "saved_plot": ("Saved the curve over alpha -> {path}", "已保存 α 曲线图 -> {path}"),
    "no_chinese_font": (
        NO_CHINESE_FONT,
        "未找到含中文字形的字体，图中的中文改用英文或编号。请安装字体（如 fonts-noto-cjk），"
        "或设置 CLIPFAST_FONT=字体文件",
    ),
    "column_fabric": ("Fabric", "面料"),
    "column_score": ("Score", "得分"),
    "column_notes": ("Notes", "说明"),
}


def _known_language(lang: str) -> str:
    if lang not in ("zh", "en"):
        raise typer.BadParameter(f"must be zh or en; got {lang!r}")
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
    try:
        yield
    except (ClipfastError, OSError) as error:
        if say.lang != "zh":
            raise
        raise chinese_error(error) from error
