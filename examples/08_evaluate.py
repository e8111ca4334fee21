"""Evaluate a model: is the right person found first, and what is visibility worth?"""

from partreid import evaluate

found = evaluate("shipped", "pedestrians")  # or your run, and the folder of your data set
for query_set, scores in found.items():
    print(f"{query_set}: rank-1 {scores.rank1:.1%}, mAP {scores.mAP:.1%} of {scores.num_queries} queries")

ignored = evaluate("shipped", "pedestrians", query="query", overrides=["matching.visibility=ignore"])
print(f"query, compared without visibility: mAP {ignored.mAP:.1%}")
