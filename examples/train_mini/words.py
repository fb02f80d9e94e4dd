"""The words of the captions: each name with its synonyms, the first being the name itself."""

from __future__ import annotations

FABRIC_WORDS: dict[str, tuple[str, ...]] = {
    "denim": ("denim", "jeans", "denim jeans"),
    "plain weave": ("plain weave", "plain woven", "cotton", "calico", "poplin"),
    "linen": ("linen", "flax"),
    "satin": ("satin", "silk", "silk satin", "sateen"),
    "tweed": ("tweed", "wool tweed"),
    "corduroy": ("corduroy", "cord", "ribbed"),
    "houndstooth": ("houndstooth", "dogtooth"),
    "gingham": ("gingham", "checked", "checkered", "vichy"),
    "herringbone": ("herringbone", "chevron", "zigzag"),
    "twill": ("twill", "diagonal twill", "serge", "gabardine"),
    "knit": ("knit", "knitted", "jersey", "wool knit"),
    "lace": ("lace", "lacy", "crochet"),
    "velvet": ("velvet", "velour", "plush"),
    "polka dots": ("polka dots", "polka dot", "dotted"),
    "stripes": ("stripes", "striped", "stripe", "pinstripe"),
    "tartan": ("tartan", "plaid"),
    "canvas": ("canvas", "sailcloth"),
    "burlap": ("burlap", "jute", "hessian", "sackcloth"),
    "chiffon": ("chiffon", "sheer", "voile", "organza"),
    "carpet": ("carpet", "rug"),
    "mesh": ("mesh", "net", "netting"),
    "quilted": ("quilted", "quilt", "padded"),
    "leather": ("leather", "hide"),
    "felt": ("felt", "felted wool"),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "yellow": ("yellow", "golden", "lemon"),
    "green": ("green", "emerald"),
    "turquoise": ("turquoise", "teal", "cyan", "aqua"),
    "blue": ("blue", "navy", "cobalt"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose"),
    "brown": ("brown", "tan", "chocolate"),
    "white": ("white", "ivory"),
    "grey": ("grey", "gray"),
}
SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "patch": ("patch", "badge", "square patch"),
    "star": ("star", "five-pointed star"),
    "ring": ("ring", "hoop"),
    "cross": ("cross", "plus sign"),
    "heart": ("heart", "heart shape"),
    "flower": ("flower", "daisy", "blossom"),
}
DEFECT_WORDS: dict[str, tuple[str, ...]] = {
    "hole": ("hole", "tear", "rip", "puncture"),
    "stain": ("stain", "spot", "smudge", "blot"),
    "scratch": ("scratch", "scuff", "scrape"),
    "thread pull": ("thread pull", "pulled thread", "loose thread", "snag"),
    "missing stitches": ("missing stitches", "skipped stitches", "broken stitches"),
    "faint mark": ("faint mark", "worn place", "pale mark", "dull mark"),
    "weave fault": ("weave fault", "weaving fault", "weaving error", "irregular weave"),
}
FLAWLESS_WORDS = (
    "flawless", "perfect", "undamaged", "clean", "intact", "pristine", "good", "normal", "unblemished", "new",
)  # fmt: skip
FLAWLESS_ENDINGS = ("without defects", "without any defect", "without damage", "without flaws", "with no flaw")
DAMAGED_WORDS = ("damaged", "defective", "broken", "faulty", "flawed", "imperfect", "abnormal", "bad")
DAMAGED_ENDINGS = ("with a defect", "with a flaw", "with damage", "with defects", "with an anomaly")
EMPTY_ENDINGS = ("without objects", "with nothing on it")
THINGS = ("object", "shape", "thing")
CLOTHS = ("fabric", "cloth", "textile", "material", "swatch", "surface")
GROUNDS = ("on fabric", "on a fabric", "on the cloth", "on cloth", "in the textile")
BEGINNINGS = (
    "a photo of", "a picture of", "an image of", "a close-up of", "a close-up photo of", "a photograph of",
    "a cropped photo of", "there is", "a bright photo of", "a dark photo of", "a good photo of", "a texture of",
    "a sample of", "a detail of", "a macro photo of", "this is",
)  # fmt: skip
