"""What must not pass: each line with a comment `misuse` is an error for mypy --strict and for pyright strict.

Never run. The test compares the lines that each checker reports with the lines that are marked.
"""

from __future__ import annotations

from datetime import timedelta

from typed_shop import (
    Approval,
    Order,
    Payment,
    Refund,
    Reservation,
    ReserveStock,
    Shop,
    ask_for_part,
    ask_for_stock,
    ask_to_forget,
    charge,
    count_refunds,
    erase,
    is_big,
    parts,
    release,
    reserve,
    reserve_stock,
    ship,
    weigh,
)

from amends import (
    Completed,
    Context,
    Flow,
    Orchestrator,
    Park,
    Participant,
    Reject,
    Retry,
    Saga,
    Service,
    for_each,
    parallel,
    pivot,
    result_of,
    sleep,
    step,
    wait_for,
    when,
)
from amends.testing import fake

approval = wait_for("approval", Approval, timeout=60)
weighed = Saga("weighed", reserve, weigh, input=Order, output=weigh)
order = Order("apple")


def use(value: object) -> None:
    """Whatever is looked at is used."""


def refund_is_big(refund: Refund) -> bool:
    return True


def numbers(order: Order) -> list[int]:
    return [1]


# Steps


async def call_it(shop: Shop, ctx: Context) -> None:
    await reserve(Refund("r"), shop, ctx)  # misuse: a step takes what its function takes
    await reserve(order, shop)  # misuse: an argument is missing
    total: int = charge(order, shop, ctx)  # misuse: a payment is no number
    await is_big(order)  # misuse: a plain step is not awaited
    use(total)


@reserve.compensation  # misuse: a compensation returns nothing
async def returns_something(order: Order) -> bool:
    return True


@charge.compensation(retry=3)  # misuse: a number is no Retry
def retried(order: Order) -> None: ...


step(timeout="10 s")  # misuse: a text is no duration
step(rejects=ValueError)  # misuse: one exception is no tuple of them
step(rejects=(Order,))  # misuse: a data class is no exception
step(retries=3)  # misuse: there is no such option
step("reserve")  # misuse: a text is no function
Retry(attempts="3")  # misuse: a text is no number
Retry(never=ValueError)  # misuse: one exception is no tuple of them
release.named("again")  # misuse: a compensation stays a function and has no stored name

# Nodes

pivot(refund_is_big)  # misuse: a plain function is no step
parallel(reserve, refund_is_big)  # misuse: a plain function is no node
when(True, reserve)  # misuse: a value is no condition
when(weigh, reserve)  # misuse: a step that gives a number is no condition
when(is_big, [reserve])  # misuse: a list is no node
for_each(erase, over=numbers)  # misuse: the step takes texts
for_each(weigh, over=parts)  # misuse: the step takes orders
for_each(erase, over=is_big)  # misuse: a bool has no items
for_each(erase, over=parts, on_reject="ignore")  # misuse: there is no such word
for_each(erase, over=parts, limit="20")  # misuse: a text is no number
sleep("1 h")  # misuse: a text is no duration
sleep(weigh)  # misuse: a step that gives a number is no duration
wait_for("approval", Approval, reject_if=lambda it: it.denied)  # misuse: an approval has no such field
wait_for("approval", Approval, timeout="3 days")  # misuse: a text is no duration
result_of(order)  # misuse: a value is no node

# Sagas

Saga("no-input", reserve)  # misuse: a saga has an input
Saga("plain", refund_is_big, input=Order)  # misuse: a plain function is no node
Saga("mixed", when(refund_is_big, reserve), input=Order)  # misuse: the condition takes another input
Saga("counted", for_each(erase, over=numbers), input=Order)  # misuse: the items do not fit
Saga("output", reserve, input=Order, output=charge.compensation)  # misuse: a method is no node
Saga("output", parallel(reserve, ship), input=Order, output=parallel(reserve))  # misuse: a block has no result
Saga("late", reserve, input=Order, deadline="1 h")  # misuse: a text is no duration
Saga(reserve, input=Order)  # misuse: a saga has a name
wrong_input: Saga[Refund, None] = Saga("plain", when(count_refunds, reserve), input=Order)  # misuse: another input
wrong_output: Saga[Order, Payment] = Saga("plain", reserve, input=Order, output=reserve)  # misuse: another result


# Running


async def run_it(orchestrator: Orchestrator) -> None:
    await orchestrator.run(weighed, Refund("r"))  # misuse: the saga takes an order
    await orchestrator.start(weighed, "apple")  # misuse: a text is no order
    await orchestrator.run(reserve, order)  # misuse: a step is no saga
    await orchestrator.run(weighed, order, 7)  # misuse: the id is given by name
    await orchestrator.run(weighed, order, id=7)  # misuse: an id is a text
    await orchestrator.signal("order-1", approval, True)  # misuse: the signal carries an approval
    await orchestrator.signal("order-1", "approval", Approval(True))  # misuse: a name is no signal
    await orchestrator.cancel("order-1")  # misuse: a cancel has a reason
    outcome = await orchestrator.run(weighed, order)
    use(outcome.result)  # misuse: only a completed saga has a result
    kilos: str = outcome.unwrap()  # misuse: a weight is no text
    use(kilos)
    match outcome:
        case Completed(result):
            use(result.upper())  # misuse: a weight is no text
        case _:
            pass
    handle = await orchestrator.start(weighed, order)
    use(handle.result)  # misuse: a handle is asked for the outcome
    await handle.outcome(5)  # misuse: the timeout is given by name


def run_blocking(orchestrator: Orchestrator) -> None:
    sagas = orchestrator.blocking()
    sagas.run(weighed, Refund("r"))  # misuse: the saga takes an order
    sagas.signal("order-1", approval, "yes")  # misuse: the signal carries an approval
    text: str = sagas.run(weighed, order)  # misuse: an outcome is no text
    use(text)


Orchestrator("sqlite:///orders.db")  # misuse: an orchestrator knows sagas
Orchestrator(sagas=[reserve])  # misuse: a step is no saga
Orchestrator(sagas=weighed)  # misuse: one saga is no list of them
Orchestrator(sagas=[weighed], resources=[Reservation("r")])  # misuse: a value is no function
Orchestrator(sagas=[weighed], around=[approval])  # misuse: a signal is no function of the context


@step(readonly=True)
def look(ctx: Context) -> None:
    use(ctx.keys)  # misuse: there is no such field
    ctx.key()  # misuse: a key is no function
    raise Park  # fine: an exception class


@step(readonly=True)
async def wait(order: Order) -> None:
    raise Retry.after(timedelta(seconds=1))


async def refuse() -> None:
    raise Reject("no")


# Contracts

service = Service("inventory")
Service(3)  # misuse: a name is a text
service.command("reserve")  # misuse: a command has a class
service.command("reserve", "ReserveStock")  # misuse: a text is no class
service.command("reserve", ReserveStock, reply=Reservation("r"))  # misuse: a value is no class
service.command("reserve", ReserveStock, Reservation)  # misuse: the reply is given by name
service.command("reserve", ReserveStock, compensation="no")  # misuse: a text is no yes or no
service.event("gone", ReserveStock("tea"))  # misuse: a value is no class
service.event("gone", ReserveStock, key=lambda event: event.price)  # misuse: the event has no such field
service.event("gone", ReserveStock, key=len)  # misuse: the key takes the event, and is a text


@reserve_stock.request  # misuse: it builds another class
def asks_wrongly(order: Order) -> Reservation:
    return Reservation("r")


@reserve_stock.request(name="late")  # misuse: a request is not async
async def asks_late(order: Order) -> ReserveStock:
    return ReserveStock(order.sku)


@reserve_stock.request(readonly=True)  # misuse: the contract says whether it is
def asks_readonly(order: Order) -> ReserveStock:
    return ReserveStock(order.sku)


def asking() -> None:
    ask_for_stock(Refund("r"))  # misuse: a request takes what its function takes
    reservation: Reservation = ask_for_stock(order)  # misuse: a plain call gives the command
    use(reservation)
    for_each(ask_for_part, over=numbers)  # misuse: the request takes texts
    when(ask_for_stock, reserve)  # misuse: a reservation is no condition


replied: Saga[Order, ReserveStock] = Saga("r", ask_for_stock, input=Order, output=ask_for_stock)  # misuse: the reply
forgot: Saga[Order, Reservation] = Saga("f", ask_to_forget, input=Order, output=ask_to_forget)  # misuse: no reply
Orchestrator(sagas=[weighed], services=["inventory"])  # misuse: a name is no service
Orchestrator(sagas=[weighed], broker=service)  # misuse: a broker is a URL


# Participants

app = Participant(reserve_stock.service)
other_service = Service("other")
gone = other_service.event("gone", Refund)


@app.handles(reserve_stock)  # misuse: the handler takes the command
async def takes_another(command: Order) -> Reservation:
    return Reservation("r")


@app.handles(reserve_stock)  # misuse: the handler answers the reply
async def answers_another(command: ReserveStock) -> Payment:
    return Payment("p")


@app.compensates(reserve_stock)  # misuse: the compensation takes the reply, second
async def forgets_the_reply(command: ReserveStock) -> None: ...


@app.compensates(reserve_stock)  # misuse: a compensation returns nothing
async def answers_too_much(command: ReserveStock, reservation: Reservation) -> Reservation:
    return reservation


@app.on(gone)  # misuse: the handler takes the event
async def hears_another(event: Order) -> None: ...


async def tell_it() -> None:
    await app.publish(gone, order, within=None)  # misuse: the event carries a refund
    await app.publish(gone, Refund("r"))  # misuse: an event is told within a transaction
    await app.publish(gone, Refund("r"), within=None, correlation=order)  # misuse: a correlation is a text


Participant("inventory")  # misuse: a name is no service
Participant(other_service, resources=[order])  # misuse: a value is no function

taken = other_service.event("taken", Order, compensates=reserve_stock)  # misuse: a command is no event
gone.leads_to(taken)  # misuse: nobody knows by when
gone.leads_to("other.taken", within=30)  # misuse: a name is no event
gone.leads_to(taken, within="30s")  # misuse: a duration is seconds or a timedelta
Flow("f", gone)  # misuse: an event is no line of a flow


# Fakes


def undoes_another(command: ReserveStock, paid: Payment) -> None: ...


fake(reserve_stock, Payment("p"))  # misuse: a fake answers the reply
fake(reserve_stock, lambda command: 7)  # misuse: a function of a fake answers the reply
fake(reserve_stock)  # misuse: a command with a reply has to be answered
fake(reserve_stock, Reservation("r"), undoes=undoes_another)  # misuse: what undoes takes the reply, second
fake("reserve", Reservation("r"))  # misuse: a name is no command
