"""What customers do with several things at once; see `shop_bulk`."""

from __future__ import annotations

from support.shoppers import Shopper


class BulkShopper(Shopper):
    """A customer who orders by the dozen."""

    def actions(self) -> list[tuple[int, Shopper.Action]]:
        return [
            *super().actions(),
            (2, self._order_several), (2, self._look_at_some), (1, self._look_at_invoices),
            (2, self._give_away), (1, self._look_back),
        ]  # fmt: skip

    async def _order_several(self) -> None:
        orders = [
            {"productId": self.chance.choice(self.products), "quantity": self.number(1, 60)}
            for _ in range(self.chance.randint(2, 4))
        ]
        given = {"address_id": self.chance.choice(self.addresses), "orders": orders}
        found = await self.told("POST", "/orders/batch", json=given)
        for one in found["orders"]:
            shown, _ = await self.ask("GET", f"/orders/{one['id']}")
            self.orders.append({**one, "etag": shown.headers["ETag"]})

    async def _look_at_some(self) -> None:
        some = [str(one["id"]) for one in self.orders[-3:]]
        if some:
            await self.ask("GET", f"/orders?ids={','.join(some)}")

    async def _look_at_invoices(self) -> None:
        order = self.mine(is_open=False)
        if order is not None:
            await self.ask("GET", f"/invoices?order_id={order['id']}")

    async def _give_away(self) -> None:
        order = self.mine(is_open=False)
        if order is None:
            return
        # A number as text, in an object of its name.
        giver = {"user": {"id": self.user_id}}
        gift = {"order": {"id": str(order["id"])}, "from": giver, "ribbons": self.number(1, 60)}
        found = await self.told("POST", "/gifts", json={"gift": gift})
        headers = {"X-Gift-Id": str(found["gift"]["id"]), "X-Page": str(self.number(1, 60))}
        await self.ask("GET", "/gift", headers=headers)

    async def _look_back(self) -> None:
        found = await self.told("GET", "/orders/history")
        for _ in range(3):
            if found["next"] is None:
                return
            found = await self.told("GET", f"/orders/history?cursor={found['next']}")
