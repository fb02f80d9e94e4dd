"""What `clipfast evaluate`, `fuse` and `recommend` say, in English and Chinese; part of the table in `messages`."""

from __future__ import annotations

from clipfast.report.fonts import NO_CHINESE_FONT

__all__ = ["ANSWER_MESSAGES"]

# key: (English, Chinese)
ANSWER_MESSAGES: dict[str, tuple[str, str]] = {
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
    "fusion_worse": (
        "Fusion answers worse: {better} {after:.1%}, {than} {before:.1%} at the first place. 1. Does the bank hold "
        "these fabrics? {lacks} 2. Another alpha: fit it (clipfast fuse fit, then --alpha fit), or raise it to rely on "
        "the rules more; it is {alpha:g}. 3. Add good reference photos, and look at the present ones: clipfast bank "
        "check",
        "融合后准确率反而下降：{better} {after:.1%}，{than} {before:.1%}。1. 检查参考库是否包含这些面料：{lacks} "
        "2. 调整 alpha 权重（现为 {alpha:g}；增大则更依赖规则），或先拟合：clipfast fuse fit，再加 --alpha fit。"
        "3. 增加更多高质量参考图，并检查现有的：clipfast bank check",
    ),
    "fusion_lacks": ("It lacks {names}.", "缺少 {names}。"),
    "fusion_lacks_none": ("It holds all of them.", "全部包含。"),
    "retrieval_slow": (
        "Retrieval is slow: {phase} takes {took:.0f} ms a picture, {wanted:.0f} are wanted. The model is loaded "
        "once a process, so keep the process; take a smaller model (--model), smaller photos, or more --threads, see "
        "clipfast bench",
        "检索速度慢：{phase} 每张图像 {took:.0f} 毫秒，目标为 {wanted:.0f} 毫秒以内。模型在每个进程中只加载一次，"
        "请保持进程运行；或换用更小的模型（--model）、缩小照片、增加线程（--threads），见 clipfast bench",
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
    "confidence_own": (
        " (the first fabric's share; it was fitted with another alpha: leave --alpha out)",
        "（仅为首位占比；置信度是用另一个 alpha 拟合的，请去掉 --alpha）",
    ),
    "confidence_others": (
        " (the first fabric's share; it was fitted with other rules or another head: name those, or clipfast fuse fit)",
        "（仅为首位占比；置信度是用另一套规则或另一个线性头拟合的，请指定原来的，或运行 clipfast fuse fit）",
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
        "None of these: {noticed:.0%} ({low:.0%} to {high:.0%}) of left-out fabrics are noticed at {rate:.0%} false "
        "refusals",
        "以上皆非：误拒率 {rate:.0%} 时可识别 {noticed:.0%}（{low:.0%} 至 {high:.0%}）的未收录面料",
    ),
    "fit_no_openset": (
        "None of these: {samples} patches are too few for a threshold; nothing is refused",
        "以上皆非：{samples} 个图块不足以确定阈值，不拒答",
    ),
    "check_confidence": ("Confidence is calibrated", "置信度已校准"),
    "check_certain": ("Confidence of 50 % or more", "置信度达到 50 %"),
    "check_known": ("The bank seems to hold this fabric", "向量库中似乎有这种面料"),
    "check_in_bank": ("The first fabric has photos in the bank", "首位面料在向量库中有照片"),
    "recommend_fitted": ("yes", "是"),
    "recommend_not_fitted": ("no; fit it: clipfast fuse fit", "否；请运行 clipfast fuse fit"),
    "recommend_fitted_not_used": ("no; pass --alpha fit", "否；请加上 --alpha fit"),
    "recommend_own": ("no; leave --alpha out", "否；请去掉 --alpha"),
    "recommend_others": ("no; fitted with other rules or another head", "否；拟合时用的是另一套规则或另一个线性头"),
    "recommend_not_promoted": (
        "no; put it to use: clipfast models promote {path}",
        "否；请运行 clipfast models promote {path}",
    ),
    "recommend_none": ("none of these", "以上皆非"),
    "recommend_some": ("yes", "是"),
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
