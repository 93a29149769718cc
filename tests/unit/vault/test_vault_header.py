import json
import subprocess
from pathlib import Path

import pytest
from vault_samples import sample_keys

from claude_syncd.crypto import seal
from claude_syncd.crypto.passphrase import Argon2
from claude_syncd.crypto.recovery import new_code, parse_code, recovery_identity
from claude_syncd.errors import AlreadyExists, FormatError, IntegrityError, UsageError, VaultError, WrongKey
from claude_syncd.store.count import Counting
from claude_syncd.store.memory import MemoryStore
from claude_syncd.vault import header, layout, slots

CHEAP = Argon2(memory_kib=65_536, time=1, parallelism=2)
GOOD = json.loads(header.encode_header("ab" * 16, "cd" * 16, CHEAP))


def test_a_header_reads_back() -> None:
    decoded = header.decode_header(header.encode_header("ab" * 16, "cd" * 16, CHEAP))
    assert (decoded.vault_id, decoded.salt, decoded.cost) == ("ab" * 16, "cd" * 16, CHEAP)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "malformed"),
        (b"[]", "malformed"),
        (b"[" * 10_000, "malformed"),
        (b"\xff", "malformed"),
        (b" " * 20_000, "too large"),
        (json.dumps({**GOOD, "format": "other"}).encode(), "not the header"),
        (json.dumps({**GOOD, "version": 2, "new": 1}).encode(), "version 2"),
        (json.dumps({**GOOD, "unknown": 1}).encode(), "malformed"),
        (json.dumps({**GOOD, "vault": "x"}).encode(), "malformed"),
        (json.dumps({**GOOD, "kdf": {**GOOD["kdf"], "name": "scrypt"}}).encode(), "malformed"),
        (json.dumps({**GOOD, "kdf": {**GOOD["kdf"], "salt": ""}}).encode(), "malformed"),
        (json.dumps({**GOOD, "kdf": {**GOOD["kdf"], "memory_kib": 1024}}).encode(), "outside of what is safe"),
        (json.dumps({**GOOD, "kdf": {**GOOD["kdf"], "memory_kib": 2**30}}).encode(), "outside of what is safe"),
        (json.dumps({**GOOD, "kdf": {**GOOD["kdf"], "time": 1000}}).encode(), "outside of what is safe"),
    ],
)
def test_other_headers_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        header.decode_header(data)


async def test_a_store_without_a_vault_has_no_header(memory: MemoryStore) -> None:
    assert await header.read_header(memory) is None


async def test_a_vault_opens_with_its_passphrase_and_its_recovery_code(memory: MemoryStore) -> None:
    created = await header.create(memory, passphrase="correct horse", kdf=CHEAP)
    found = await header.read_header(memory)
    assert found == created.header
    assert await header.unlock(memory, created.header, "correct horse") == created.keys
    assert await header.unlock(memory, created.header, created.recovery_code.lower().replace("-", " ")) == created.keys
    assert created.recovery_code not in repr(created)
    assert created.keys.current.secret not in b"".join(memory.objects.values())


async def test_a_vault_without_a_passphrase_opens_with_its_recovery_code(memory: MemoryStore) -> None:
    created = await header.create(memory, passphrase=None, kdf=CHEAP)
    assert [slots.kind_of(slot) for slot in await slots.listed(memory)] == [slots.Kind.RECOVERY]
    assert await header.unlock(memory, created.header, created.recovery_code) == created.keys


async def test_a_wrong_secret_opens_nothing(memory: MemoryStore) -> None:
    created = await header.create(memory, passphrase="correct horse", kdf=CHEAP)
    for secret in ("wrong horse", "", new_code(), "AGE-SECRET-KEY-1NONSENSE"):
        with pytest.raises(VaultError) as caught:
            await header.unlock(memory, created.header, secret)
        assert not secret or secret not in str(caught.value)
    digits = created.recovery_code.replace("-", "")
    mistyped = ("2" if digits[0] != "2" else "3") + digits[1:]
    with pytest.raises(WrongKey, match="typing error"):
        await header.unlock(memory, created.header, mistyped)


async def test_a_recovery_code_that_was_taken_for_a_passphrase_still_opens(memory: MemoryStore) -> None:
    code = new_code()
    created = await header.create(memory, passphrase=code, kdf=CHEAP)
    assert await header.unlock(memory, created.header, code) == created.keys


async def test_a_second_vault_is_never_made_over_the_first(memory: MemoryStore) -> None:
    first = await header.create(memory, passphrase="first", kdf=CHEAP)
    before = dict(memory.objects)
    with pytest.raises(AlreadyExists):
        await header.create(memory, passphrase="second", kdf=CHEAP)
    assert memory.objects == before
    assert await header.unlock(memory, first.header, "first") == first.keys


class Racing:
    """A store where another device finishes its `create` just before our header arrives."""

    def __init__(self, store: MemoryStore, *, conditional: bool) -> None:
        self._store = store
        self._conditional = conditional
        self.other: header.Created | None = None

    @property
    def address(self) -> str:
        return self._store.address

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        if name != layout.HEADER_NAME:
            await self._store.put(name, data, if_absent=if_absent)
        elif self._conditional:
            self.other = await header.create(self._store, passphrase="other", kdf=CHEAP)
            await self._store.put(name, data, if_absent=if_absent)
        else:
            await self._store.put(name, data)
            del self._store.objects[name]
            self.other = await header.create(self._store, passphrase="other", kdf=CHEAP)

    get = property(lambda self: self._store.get)
    list = property(lambda self: self._store.list)
    delete = property(lambda self: self._store.delete)
    drop_history = property(lambda self: self._store.drop_history)
    close = property(lambda self: self._store.close)


@pytest.mark.parametrize("conditional", [True, False])
async def test_the_loser_of_a_race_notices_and_cleans_up(memory: MemoryStore, conditional: bool) -> None:
    racing = Racing(memory, conditional=conditional)
    with pytest.raises(AlreadyExists):
        await header.create(racing, passphrase="ours", kdf=CHEAP)
    assert racing.other is not None
    assert await header.unlock(memory, racing.other.header, "other") == racing.other.keys
    assert len(await slots.listed(memory)) == 2


class CutOff:
    """A store that fails for good after so many puts."""

    def __init__(self, store: MemoryStore, puts: int) -> None:
        self._store = store
        self._left = puts

    @property
    def address(self) -> str:
        return self._store.address

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        if not self._left:
            raise UsageError("cut off")
        self._left -= 1
        await self._store.put(name, data, if_absent=if_absent)

    get = property(lambda self: self._store.get)
    list = property(lambda self: self._store.list)
    delete = property(lambda self: self._store.delete)
    drop_history = property(lambda self: self._store.drop_history)
    close = property(lambda self: self._store.close)


@pytest.mark.parametrize("puts", [0, 1, 2])
async def test_cut_off_anywhere_leaves_no_vault_that_does_not_open(memory: MemoryStore, puts: int) -> None:
    with pytest.raises(UsageError, match="cut off"):
        await header.create(CutOff(memory, puts), passphrase="first", kdf=CHEAP)
    assert await header.read_header(memory) is None
    second = await header.create(memory, passphrase="first", kdf=CHEAP)
    assert await header.unlock(memory, second.header, "first") == second.keys


class LostAnswer(CutOff):
    """A store whose answer to the header's put is lost, and whose repeated put then finds it there."""

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        await self._store.put(name, data, if_absent=if_absent)
        if name == layout.HEADER_NAME:
            await self._store.put(name, data, if_absent=if_absent)


async def test_our_own_header_is_not_taken_for_anothers(memory: MemoryStore) -> None:
    created = await header.create(LostAnswer(memory, 0), passphrase=None, kdf=CHEAP)
    assert await header.unlock(memory, created.header, created.recovery_code) == created.keys


async def test_a_swapped_header_is_noticed(memory: MemoryStore) -> None:
    created = await header.create(memory, passphrase=None, kdf=CHEAP)
    weaker = header.encode_header(created.header.vault_id, created.header.salt, Argon2(65_536, 1, 1))
    memory.objects[layout.HEADER_NAME] = weaker
    swapped = await header.read_header(memory)
    assert swapped is not None
    with pytest.raises(IntegrityError, match="not the one that the vault was made with"):
        await header.unlock(memory, swapped, created.recovery_code)


async def test_other_files_among_the_slots_do_not_matter(memory: MemoryStore) -> None:
    created = await header.create(memory, passphrase=None, kdf=CHEAP)
    memory.objects["keys/README"] = b"hello"
    memory.objects["keys/aaa.age"] = b"not an age file"
    memory.objects["keys/aab.age"] = bytes(1 << 20)
    assert await header.unlock(memory, created.header, created.recovery_code) == created.keys


async def test_unlocking_costs_a_list_and_a_get_for_each_slot(memory: MemoryStore, store: Counting) -> None:
    created = await header.create(memory, passphrase="correct horse", kdf=CHEAP)
    before = store.snapshot()
    await header.unlock(store, created.header, created.recovery_code)
    assert (store.snapshot() - before).requests == {"put": 0, "get": 2, "list": 1, "delete": 0, "head": 0}


async def test_too_many_slots_are_refused(memory: MemoryStore) -> None:
    created = await header.create(memory, passphrase=None, kdf=CHEAP)
    for number in range(slots.MAX_SLOTS):
        memory.objects[f"keys/x{number}.age"] = b""
    with pytest.raises(FormatError, match="65 key slots"):
        await header.unlock(memory, created.header, created.recovery_code)


async def test_a_changed_passphrase_is_the_only_one(memory: MemoryStore) -> None:
    created = await header.create(memory, passphrase="old", kdf=CHEAP)
    await header.change_passphrase(memory, created.header, created.keys, "new")
    assert await header.unlock(memory, created.header, "new") == created.keys
    with pytest.raises(WrongKey):
        await header.unlock(memory, created.header, "old")
    assert await header.unlock(memory, created.header, created.recovery_code) == created.keys


async def test_a_second_recovery_code_opens_too(memory: MemoryStore) -> None:
    created = await header.create(memory, passphrase=None, kdf=CHEAP)
    code = await header.add_recovery(memory, created.keys)
    assert await header.unlock(memory, created.header, code) == created.keys
    assert await header.unlock(memory, created.header, created.recovery_code) == created.keys


async def test_another_persons_age_key_opens(memory: MemoryStore) -> None:
    created = await header.create(memory, passphrase=None, kdf=CHEAP)
    identity = recovery_identity(parse_code(new_code()) or b"")
    slot = await slots.add_recipient(memory, created.keys, seal.recipient_of(identity))
    assert slots.kind_of(slot) is slots.Kind.AGE
    assert await header.unlock(memory, created.header, identity) == created.keys
    await slots.remove(memory, slot)
    with pytest.raises(WrongKey):
        await header.unlock(memory, created.header, identity)


async def test_an_ssh_key_opens(memory: MemoryStore, tmp_path: Path) -> None:
    created = await header.create(memory, passphrase=None, kdf=CHEAP)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "id"], check=True)
    slot = await slots.add_recipient(memory, created.keys, (tmp_path / "id.pub").read_text())
    assert slots.kind_of(slot) is slots.Kind.SSH
    assert await header.unlock(memory, created.header, (tmp_path / "id").read_text()) == created.keys


async def test_the_last_slot_stays(memory: MemoryStore) -> None:
    await header.create(memory, passphrase=None, kdf=CHEAP)
    (slot,) = await slots.listed(memory)
    with pytest.raises(UsageError, match="last key slot"):
        await slots.remove(memory, slot)
    with pytest.raises(UsageError, match="no key slot"):
        await slots.remove(memory, "other")


def test_a_slot_that_holds_something_else_is_refused() -> None:
    identity = recovery_identity(bytes(20))
    sealed = seal.encrypt_to(seal.recipient_of(identity), b"hello")
    with pytest.raises(FormatError, match="key slot x"):
        slots.open_slot("x", sealed, identity)
    assert slots.open_slot("x", sealed, sample_keys().current.identity) is None
    assert slots.kind_of("x-1") is None
