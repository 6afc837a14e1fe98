# Run by scripts/clients/immich, with the Python that has immichpy: uploads a folder, and asks for whatever has a model.
"""Usage: immich_python.py ADDRESS TOKEN FOLDER. Prints what it was told, as JSON."""

import asyncio
import json
import sys
from pathlib import Path
from uuid import uuid4

from immichpy import AsyncClient
from immichpy.client.generated import AssetBulkDeleteDto, BulkIdsDto, CreateAlbumDto, MetadataSearchDto
from immichpy.client.generated.exceptions import ApiException


async def main(address, token, folder):
    told = {}
    async with AsyncClient(api_key=token, base_url=address) as client:
        for time, album in (("first", "From Python"), ("second", None)):
            stats = (await client.assets.upload(Path(folder), album_name=album)).stats
            told[time] = [stats.total, stats.uploaded, stats.rejected, stats.failed]
        told["me"] = (await client.users.get_my_user()).name
        await client.api_keys.get_my_api_key()
        for ask in ("get_server_version", "get_about_info", "get_server_features", "get_server_config", "get_storage",
                    "get_version_history", "ping_server", "get_supported_media_types"):
            await getattr(client.server, ask)()
        await client.assets.get_asset_statistics()
        await client.albums.get_album_statistics()
        told["albums"] = {album.album_name: album.asset_count for album in await client.albums.get_all_albums()}
        ids, pages, page = set(), 0, 1
        while page:
            found = (await client.search.search_assets(MetadataSearchDto(size=3, page=page, with_exif=True))).assets
            ids |= {asset.id for asset in found.items}
            pages, page = pages + 1, int(found.next_page) if found.next_page else None
        told["pages"], told["listed"] = pages, len(ids)
        found = await client.search.search_assets(MetadataSearchDto(original_file_name="p1.jpg"))
        photo = await client.assets.get_asset_info(found.assets.items[0].id)
        album = await client.albums.create_album(CreateAlbumDto(album_name="Second"))
        for time in ("added", "again"):
            answers = await client.albums.add_assets_to_album(album.id, BulkIdsDto(ids=[photo.id]))
            told[time] = [[a.success, a.error and a.error.value] if time == "again" else a.success for a in answers]
        await client.albums.get_album_info(album.id)
        for what, ask in (("missing", lambda: client.assets.get_asset_info(uuid4())),
                          ("deleted", lambda: client.assets.delete_assets(AssetBulkDeleteDto(ids=[photo.id])))):
            try:
                await ask()
                told[what] = 204
            except ApiException as error:
                told[what] = error.status
    print(json.dumps(told))


asyncio.run(main(*sys.argv[1:]))
