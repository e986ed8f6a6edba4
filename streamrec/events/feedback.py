"""What an example is to the click that may still come: its role.

An impression whose click can still come may be learned at once as a negative. Its example is then given
more than once, and says each time which of its turns this is:

    role        on the wire    label  learned  what it says
    FINAL       (no feedback)  y      yes      the label, once and for all
    EARLY       "early"        0      yes      no click yet; one may still correct this
    CORRECTION  "correction"   y      yes      the click came: what was given as a negative is none
    CONFIRMED   "confirmed"    0      no       no click came in time: EARLY was right
    ARRIVAL     "arrival"      0      no       was shown now: predict, to be measured by its label later

Of one impression come, in this order: ARRIVAL where arrivals are asked for; EARLY or FINAL; after EARLY one
of CORRECTION and CONFIRMED. Where negatives are a sample, the EARLY ones left out are corrected all the same.

Who retrieves items learns of the catalogue, too. An `item` event then comes among the examples, in its place
in the stream, as CATALOGUE (label 1: deleted); it is no example, on the wire it stays what it is.
"""

__all__ = ["ARRIVAL", "CATALOGUE", "CONFIRMED", "CORRECTION", "EARLY", "FEEDBACK", "FINAL", "feedback_fields"]

FINAL, EARLY, CORRECTION, CONFIRMED, ARRIVAL, CATALOGUE = range(6)

#: The `feedback` field of an `example` event by role; None: the field is absent.
FEEDBACK = (None, "early", "correction", "confirmed", "arrival")
#: An impression's example has the impression's id where it is learned first; ids are unique, so its others
#: end like this.
_SUFFIXES = ("", "", "#click", "#confirmed", "#arrival")


def feedback_fields(impression: str, role: int) -> dict[str, str]:
    """The fields of an `example` event that say what it is to its impression.

    Args:
        impression: id of the impression.
        role: FINAL … ARRIVAL.

    >>> feedback_fields("i7", CORRECTION)
    {'id': 'i7#click', 'feedback': 'correction', 'impression': 'i7'}
    >>> feedback_fields("i7", EARLY)
    {'id': 'i7', 'feedback': 'early'}

    """
    fields = {"id": impression + _SUFFIXES[role]}
    if (feedback := FEEDBACK[role]) is not None:
        fields["feedback"] = feedback
    if role >= CORRECTION:
        fields["impression"] = impression
    return fields
