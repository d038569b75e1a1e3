"""Calls from one service to another over HTTP."""
