"""A font of rectangles that has just the signs it is asked for, so that tests need none of the system's."""

from __future__ import annotations

from pathlib import Path


def draw_font(path: Path, signs: str) -> Path:
    """Write a TrueType font: ASCII narrow, other signs wide, each with a bar of its own height; others are hollow."""
    from fontTools.fontBuilder import FontBuilder  # it has no stubs
    from fontTools.pens.ttGlyphPen import TTGlyphPen  # it has no stubs

    wanted = sorted({*map(chr, range(32, 127)), *signs})
    names = {sign: f"u{ord(sign):04X}" for sign in wanted}
    glyphs, widths = {}, {}
    for at, name in enumerate([".notdef", *names.values()]):
        wide = at > 95
        pen = TTGlyphPen(None)
        right, top = (900, 800 - 5 * (at % 100)) if wide else (400, 600)
        for corners in [[(60, 0), (60, top), (right, top), (right, 0)]] * (name != "u0020"):
            pen.moveTo(corners[0])
            for corner in corners[1:]:
                pen.lineTo(corner)
            pen.closePath()
        glyphs[name], widths[name] = pen.glyph(), (1000 if wide else 500, 60)
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap({ord(sign): name for sign, name in names.items()})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(widths)
    builder.setupHorizontalHeader(ascent=900, descent=-200)
    builder.setupNameTable({"familyName": "Clipfast Drawn", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, sTypoDescender=-200)
    builder.setupPost()
    builder.save(path)
    return path
