"""Energy, area and cost of a chip and of a run: docs/economics.md.

technology = load_technology("public-2026")
found = evaluate(result, Part.load("t1"), technology, input_tokens=512, output_tokens=1)
found.metrics["joules_per_output_token"], found.json
"""
