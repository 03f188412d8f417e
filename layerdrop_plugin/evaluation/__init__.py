"""Our own passes over data: a checkpoint with its task and examples, the loss of each, and what differences mean."""

# Metrics of sentence classifiers and regressors, the best headline first; here, as importing them needs no numpy.
CLASSIFICATION_METRICS = ("accuracy", "pearson", "spearman", "mse", "f1", "mcc", "acc_and_f1", "pearson_and_spearman")
