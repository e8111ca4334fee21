"""Models as one file for other runtimes: ONNX and OpenVINO."""
