from harvester.errors import CannotFinishNow
from harvester.fetch.pace import Pace, Ticket

class Pacer:
    def __init__(self, *, rng, max_rps=None, concurrency=None, max_concurrency=256, retry_after_cap=300.0):
        self.pace = Pace(max_rps)
        self.rng = rng
        self.in_flight = 0
        self.limit = concurrency or 64
        self.cap = retry_after_cap
        self.id = 0
        self.broken = False

    @property
    def rate(self): return self.pace.rate
    @property
    def limit_in_flight(self): return self.limit

    def wait(self, now):
        if self.in_flight >= self.limit:
            return None
        d = self.pace.wait(now)
        return d if d > 1e-9 else 0.0

    def sent(self, now):
        self.in_flight += 1
        self.id += 1
        t = Ticket(now, self.id, self.pace.epoch)
        self.pace.sent(t)
        return t

    def succeeded(self, ticket, now, *, weight=1):
        self.in_flight -= 1
        self.pace.succeeded(ticket, now)

    def refused(self, ticket, now, retry_after):
        self.in_flight -= 1
        if retry_after is not None and retry_after > self.cap:
            raise CannotFinishNow("the server asks for too long a pause")
        self.pace.refused(ticket, now, retry_after)

    def failed(self, ticket, now, retry_after=None):
        self.in_flight -= 1

    def cancelled(self, ticket, now):
        self.in_flight -= 1
