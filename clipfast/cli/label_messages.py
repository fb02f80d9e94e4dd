"""What `clipfast label` says, in English and Chinese; part of the table in `messages`."""

from __future__ import annotations

__all__ = ["LABEL_MESSAGES"]

# key: (English, Chinese)
LABEL_MESSAGES: dict[str, tuple[str, str]] = {
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
}
