"""What tests of a tap stand on: an emulated vendor's server and storage; no tap needs it to run."""
