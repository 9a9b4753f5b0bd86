#!/bin/sh
# A completion and a puzzle with curl: `sh completion.sh [url]`.
url=${1:-http://127.0.0.1:8000}
curl -sS --fail-with-body "$url/v1/completions" -H 'content-type: application/json' \
  -d '{"model": "stories", "prompt": "Once upon a time", "max_tokens": 16, "seed": 1}'
echo
curl -sS --fail-with-body "$url/v1/completions" -H 'content-type: application/json' \
  -d '{"model": "sudoku6", "template": "_4______6__1_5__2___45____1__63_____", "reasoning_effort": "high"}'
echo
