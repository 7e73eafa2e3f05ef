"""The HTML report: one file that opens offline. collect reads, measures computes, charts and graph draw."""
