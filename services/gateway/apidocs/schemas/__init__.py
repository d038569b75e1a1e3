"""Schemas of the answers, for `/openapi.json`, by tag. They are composed by `composition.representations`.

What a type such as `CommentState` may hold stands in `vocabulary`. Every field says what it means; a test holds that.
"""
