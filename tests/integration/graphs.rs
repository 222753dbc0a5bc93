//! What the written graphs look like to ONNX Runtime.
