"""The engine: HTTP shapes, no Limio nouns, no aiohttp."""
