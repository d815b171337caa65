/* dialect/list.h -- every wire format, one line each. X(symbol): `const struct dialect_ops dialect_<symbol>`. */
X(openai_chat)
X(openai_responses)
X(anthropic)
X(gemini)
X(bedrock)
X(bedrock_invoke)
