"""The table of fabrics: names in English and Chinese, pattern, and where the second colour comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from clipfast.datasets.fabricworld import figured, hides, surfaces, woven
from clipfast.datasets.fabricworld.cloth import Cloth, Loom

__all__ = ["FABRICS", "Fabric"]


@dataclass(frozen=True, slots=True)
class Fabric:
    """A kind of fabric.

    Attributes:
        name: English name, as it stands in captions.
        zh: Chinese name.
        pattern: Draws it.
        second: Its second colour: a darker or paler shade of the first, or another colour in contrast.
    """

    name: str
    zh: str
    pattern: Callable[[Loom], Cloth]
    second: Literal["darker", "paler", "contrast"] = "darker"

    @property
    def id(self) -> str:
        """The name as a folder name."""
        return self.name.replace(" ", "_")


FABRICS: Mapping[str, Fabric] = MappingProxyType(
    {
        fabric.name: fabric
        for fabric in (
            Fabric("denim", "牛仔布", woven.denim, "paler"),
            Fabric("plain weave", "平纹布", woven.plain_weave),
            Fabric("linen", "亚麻布", woven.linen, "paler"),
            Fabric("satin", "缎面布", surfaces.satin, "paler"),
            Fabric("tweed", "粗花呢", woven.tweed, "contrast"),
            Fabric("corduroy", "灯芯绒", woven.corduroy),
            Fabric("houndstooth", "千鸟格", figured.houndstooth, "contrast"),
            Fabric("gingham", "格子棉布", figured.gingham, "contrast"),
            Fabric("herringbone", "人字呢", figured.herringbone, "contrast"),
            Fabric("twill", "斜纹布", woven.twill),
            Fabric("knit", "针织布", woven.knit),
            Fabric("lace", "蕾丝", surfaces.lace),
            Fabric("velvet", "丝绒", surfaces.velvet),
            Fabric("polka dots", "波点布", figured.polka_dots, "contrast"),
            Fabric("stripes", "条纹布", figured.stripes, "contrast"),
            Fabric("tartan", "苏格兰格纹", figured.tartan, "contrast"),
            Fabric("canvas", "帆布", woven.canvas),
            Fabric("burlap", "粗麻布", woven.burlap),
            Fabric("chiffon", "雪纺", surfaces.chiffon, "paler"),
            Fabric("carpet", "地毯", surfaces.carpet),
            Fabric("mesh", "网眼布", surfaces.mesh),
            Fabric("quilted", "绗缝布", surfaces.quilted),
            Fabric("leather", "皮革", hides.leather),
            Fabric("felt", "毛毡", hides.felt),
        )
    }
)
