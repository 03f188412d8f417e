"""Evaluation of checkpoints on data folders: losses and answers of the examples, metrics, and paired tests."""

# Metrics of sentence classifiers and regressors, in the order of preference for a headline. They stand here because the
# command line imports them without numpy.
CLASSIFICATION_METRICS = ("accuracy", "pearson", "spearman", "mse", "f1", "mcc", "acc_and_f1", "pearson_and_spearman")
