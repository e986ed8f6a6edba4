"""Impressions, clicks and ratings become labelled examples, in event time."""

from streamrec.join.joiner import Joined, Joiner, Refused
from streamrec.join.settings import JoinSettings

__all__ = ["JoinSettings", "Joined", "Joiner", "Refused"]
