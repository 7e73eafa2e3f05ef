"""A small world for the live executor: a model chain, its faults and a virtual clock, all from one seed."""
