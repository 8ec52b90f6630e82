"""Durable sagas: every saga completes, or makes amends."""
