"""The runtime: images and texts in, unit rows and patch tokens out; ONNX Runtime and NumPy, never PyTorch."""

__all__: list[str] = []
