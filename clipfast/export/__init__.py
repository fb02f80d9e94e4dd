"""Export: from open_clip weights to an artifact folder, proven against a PyTorch reference.

The only part of clipfast that may import torch, open_clip and onnx (extra `export`). `python -m clipfast.export` and
`clipfast export` are the same command.
"""
