"""What `clipfast head` and `clipfast evalset` say, in English and Chinese; part of the table in `messages`."""

from __future__ import annotations

__all__ = ["TRAINING_MESSAGES"]

# key: (English, Chinese)
TRAINING_MESSAGES: dict[str, tuple[str, str]] = {
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
    "check_pictures": ("Every picture is there and unchanged", "图像均在原位且未改动"),
    "check_pictures_of": ("{count} of {count}", "{count} 个中的 {count} 个"),
}
