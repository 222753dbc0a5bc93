"""The parts of `run.py`: systems, loads, preparation, measurement, report."""
