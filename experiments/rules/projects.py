"""Rules for projects of machine learning, by words that a field is known for.

    bertjax label projects.csv --rules experiments/rules/projects.py --text title description

They were written from general knowledge, and not fitted to any table.
"""

import re

VISION, LANGUAGE = "computer-vision", "natural-language-processing"
OPERATIONS, OTHER = "mlops", "other"


def words(label, pattern):
    """A rule that votes for `label` where the text has one of the words, and else abstains."""
    found = re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE)
    return lambda row: label if found.search(row.text) else None


rule_images = words(VISION, "images?|photos?|pictures?|pixels?|cameras?|visual|vision|opencv")
rule_videos = words(VISION, "videos?|films?|frames|scenes?|3d|depth|point clouds?")
rule_convolutions = words(VISION, "convolutions?|convolutional|cnns?|resnets?|vggs?|unets?|u-nets?")
rule_detection = words(VISION, r"object detection|detectors?|yolo\w*|r-?cnn|\w*segmentation")
rule_faces = words(VISION, r"faces?|facial|poses?|gestures?|ocr|handwriting|handwritten")
rule_drawing = words(VISION, r"(?:style|cycle)?gans?|style transfer|super[- ]resolution")

rule_texts = words(LANGUAGE, "texts?|words?|sentences?|documents?|articles?|tweets?|emails?")
rule_language = words(LANGUAGE, r"nlp|natural language|languages?|linguistics?|spacy|grammar")
rule_models = words(LANGUAGE, r"\w*bert|gpt\S*|t5|language models?|word2vec|glove|seq2seq")
rule_reading = words(LANGUAGE, r"translations?|translate|summari\w+|sentiment|named entit\w+")
rule_talking = words(LANGUAGE, r"chat-?bots?|dialog(?:ue)?s?|conversation\w*|questions?|answers?")

rule_serving = words(OPERATIONS, r"deploy\w*|productions?|serving|docker|kubernetes|cloud")
rule_operations = words(OPERATIONS, r"ml-?ops|ci/cd|monitor\w*|drift|feature stores?|testing")
rule_experiments = words(OPERATIONS, r"mlflow|dvc|kubeflow|airflow|versioning|experiment tracking")
rule_pipelines = words(OPERATIONS, r"pipelines?|workflows?|orchestrat\w+|reproducib\w+")

rule_reinforcement = words(OTHER, "reinforcement|rl|agents?|bandits?|monte carlo|games?")
rule_graphs = words(OTHER, "graphs?|gnns?|nodes?|social networks?")
rule_series = words(OTHER, r"time[- ]series|forecast\w*|anomal\w+|stocks?|sensors?")
rule_sounds = words(OTHER, "audio|speech|sounds?|music|voices?|speakers?")
rule_tables = words(OTHER, r"tabular|recommend\w*|xgboost|decision trees?|regressions?")
