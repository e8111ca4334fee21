"""What runs a network: PyTorch, or an exported ONNX or OpenVINO file."""
