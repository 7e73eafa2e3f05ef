"""The Yellowstone gRPC client: subscribe, resume, read whole slots. No decoding of programs, no database."""
