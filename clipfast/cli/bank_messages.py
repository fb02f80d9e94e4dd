"""What `clipfast bank` says, in English and Chinese; part of the table in `messages`."""

from __future__ import annotations

from clipfast.retrieval.check import PROBLEMS

__all__ = ["BANK_MESSAGES"]

# key: (English, Chinese)
BANK_MESSAGES: dict[str, tuple[str, str]] = {
    "bank_building": ("Building fabric reference bank...", "正在构建面料向量库……"),
    "bank_images": ("{count} images", "{count} 张图像"),
    "bank_one_image": ("{count} image", "{count} 张图像"),
    "bank_line": (
        "[OK] {fabric}: {images} -> shape ({count}, {dim})",
        "[成功] {fabric}：{images} -> 形状 ({count}, {dim})",
    ),
    "bank_empty": ("[EMPTY] {fabric}: {images}", "[空] {fabric}：{images}"),
    "bank_replaced": ("[REPLACED] {path}", "[替换] {path}"),
    "bank_ignored": ("[IGNORED] {path}: {reason}", "[忽略] {path}：{reason}"),
    "bank_repeated": (
        "[REPEATED] {path}: the same file as an earlier photo",
        "[重复] {path}：与前面的照片是同一个文件",
    ),
    "bank_removed": ("[REMOVED] {name}: {images}", "[移除] {name}：{images}"),
    "bank_saved": ("Saved fabric bank -> {path}", "已保存面料向量库 -> {path}"),
    "bank_file": ("Fabric bank {path}", "面料向量库 {path}"),
    "bank_fabrics": ("   Total fabrics: {count}", "   面料总数：{count}"),
    "bank_total": ("   Total images: {count}", "   图像总数：{count}"),
    "bank_imported": (
        "   Imported as vectors, without a photo: {count}",
        "   以向量导入、没有照片：{count}",
    ),
    "bank_model": (
        "   Model: {name} ({precision}, fingerprint {fingerprint}…)",
        "   模型：{name}（{precision}，指纹 {fingerprint}…）",
    ),
    "bank_hit": (
        "{place}. {fabric}: {score:z.3f}   nearest {path} ({near:z.3f})",
        "{place}. {fabric}：{score:z.3f}   最近的照片 {path}（{near:z.3f}）",
    ),
    "check_bank_read": ("The file is whole and unchanged", "文件完整且未被改动"),
    "check_bank_vector": ("Every fabric has a vector", "每个面料至少有 1 个嵌入向量"),
    "check_bank_photos": ("3-5 photos of every fabric", "每个面料 3-5 张图像"),
    "check_bank_size": ("Photos of {side} x {side} pixels or more", "图像分辨率不低于 {side}x{side}"),
    "check_bank_file": ("Sensible file size", "文件大小合理"),
    "check_bank_file_of": (
        "{size}, {each} a photo ({vector} of it the vector)",
        "{size}，每张图像 {each}（其中向量 {vector}）",
    ),
    "bank_unchecked": ("{sentence}", "未检查：{sentence}"),
    "bank_count": ("{fabric}: {images}", "{fabric}：{images}"),
    "bank_left_out": ("Left out {left} of {total} photos.", "已跳过 {total} 张照片中的 {left} 张。"),
    "bank_other_model": ("Model: {old} -> {new}", "模型：{old} -> {new}"),
    "bank_rebuilding": ("Rebuilding", "重建中"),
    "bank_comparing": ("Comparing", "比对中"),
    "bank_checking": ("Checking", "检查中"),
    "bank_one_vector": ("[OK] {fabric}: {count} vector", "[成功] {fabric}：{count} 个向量"),
    "bank_vectors": ("[OK] {fabric}: {count} vectors", "[成功] {fabric}：{count} 个向量"),
    "bank_no_vector": ("[EMPTY] {fabric}: no vector; it is left out", "[空] {fabric}：没有向量，已跳过"),
    "bank_rescaled": (
        "[RESCALED] {fabric}: rows must be of length 1; one had {length:.4g}",
        "[归一化] {fabric}：向量长度应为 1，其中一个为 {length:.4g}",
    ),
    "problem_few": (PROBLEMS["few"], "每个面料的照片数量足够"),
    "problem_unreadable": (PROBLEMS["unreadable"], "所有文件均可读取"),
    "problem_small": (PROBLEMS["small"], "没有尺寸过小的照片"),
    "problem_blurred": (PROBLEMS["blurred"], "没有模糊的照片"),
    "problem_light": (PROBLEMS["light"], "所有照片光照良好"),
    "problem_equal": (PROBLEMS["equal"], "没有重复的照片"),
    "problem_similar": (PROBLEMS["similar"], "没有几乎相同的照片"),
    "problem_evaluated": (PROBLEMS["evaluated"], "没有评估集中的图像"),
    "problem_confused": (PROBLEMS["confused"], "每张照片都能在其他照片中找到自己的面料"),
    "problems_title": (
        "Problems: {count}, in {touched} of {fabrics} fabrics",
        "问题：{count} 个，涉及 {fabrics} 个面料中的 {touched} 个",
    ),
    "problems_more": ("and {count} more; --json has all", "另有 {count} 个，--json 列出全部"),
    "problems_found": ("{count} found", "发现 {count} 个"),
    "problems_none": ("yes", "是"),
    "problems_see": (" (see {names})", "（见 {names}）"),
    "problems_alone": ("no fabric has two photos", "没有面料有两张以上照片"),
    "problems_share": ("{share:.1%} of {asked} do", "{asked} 张中的 {share:.1%}"),
    "column_bank_fabric": ("fabric", "面料"),
    "column_bank_photos": ("photos", "照片数"),
    "column_bank_problems": ("problems", "问题"),
}
