"""What HTTP calls need to be relied on, without I/O: what answers mean, when to send again, pace.

``headers`` reads what a server says of its limits, ``pacing`` says when the next request may
go, ``calls`` decides what to do next with a call. ``syncsdk.http`` drives them.
"""
