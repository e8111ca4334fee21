"""The paper's tables as experiments: rows that train and compare, and what comes out beside the paper's figures."""
